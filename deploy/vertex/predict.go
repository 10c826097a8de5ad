package vertex

import (
	"context"
	"encoding/json"
	"fmt"

	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/gcp"
)

// Request reads body, {"instances": […]}, as a request to the endpoint.
func (e *Endpoint) Request(body []byte) (*aiplatformpb.PredictRequest, error) {
	var parts struct {
		Instances  []json.RawMessage `json:"instances"`
		Parameters json.RawMessage   `json:"parameters"`
	}
	if err := json.Unmarshal(body, &parts); err != nil {
		return nil, fault.Wrap(fault.Malformed, err, "the request is not JSON of the form {\"instances\": […]}: %v", err)
	}
	if len(parts.Instances) == 0 {
		return nil, fault.Newf(fault.Invalid, "the request holds no instances").WithHint("write {\"instances\": [{…}]}")
	}
	req := &aiplatformpb.PredictRequest{Endpoint: e.resource()}
	for i, raw := range parts.Instances {
		v := new(structpb.Value)
		if err := protojson.Unmarshal(raw, v); err != nil {
			return nil, fault.Wrap(fault.Malformed, err, "instances[%d] cannot be read", i)
		}
		req.Instances = append(req.Instances, v)
	}
	if len(parts.Parameters) > 0 {
		req.Parameters = new(structpb.Value)
		if err := protojson.Unmarshal(parts.Parameters, req.Parameters); err != nil {
			return nil, fault.Wrap(fault.Malformed, err, "parameters cannot be read")
		}
	}
	return req, nil
}

// Predict sends body to the endpoint and returns the answer, in the form that
// the container gave it, with the release that gave it.
func (e *Endpoint) Predict(ctx context.Context, body []byte) (answer []byte, by string, err error) {
	req, err := e.Request(body)
	if err != nil {
		return nil, "", err
	}
	resp, err := e.Ask(ctx, req)
	if err != nil {
		return nil, "", err
	}
	if by, err = e.releaseOf(ctx, resp.GetDeployedModelId()); err != nil {
		return nil, "", err
	}
	out := struct {
		Predictions []json.RawMessage `json:"predictions"`
	}{}
	for _, p := range resp.GetPredictions() {
		raw, err := protojson.Marshal(p)
		if err != nil {
			return nil, "", err
		}
		out.Predictions = append(out.Predictions, raw)
	}
	answer, err = json.Marshal(out)
	return answer, by, err
}

// Ask sends req. Its answer names the deployed model that gave it.
func (e *Endpoint) Ask(ctx context.Context, req *aiplatformpb.PredictRequest) (*aiplatformpb.PredictResponse, error) {
	predictions, err := e.predictions()
	if err != nil {
		return nil, gcp.Fault(err)
	}
	resp, err := predictions.Predict(ctx, req)
	return resp, gcp.Fault(err)
}

func (e *Endpoint) releaseOf(ctx context.Context, deployedID string) (string, error) {
	endpoints, err := e.endpoints()
	if err != nil {
		return "", gcp.Fault(err)
	}
	ep, err := endpoints.GetEndpoint(ctx, &aiplatformpb.GetEndpointRequest{Name: e.resource()})
	if err != nil {
		return "", gcp.Fault(err)
	}
	return state{endpoint: ep}.nameOf(deployedID), nil
}

// Probe implements deploy.Prober. An endpoint picks the version by its split,
// so a release without traffic cannot be asked; one with traffic is asked
// until it has answered.
func (e *Endpoint) Probe(ctx context.Context, id string, body []byte) error {
	st, err := e.read(ctx)
	if err != nil {
		return err
	}
	facts := st.facts()
	split, err := facts.Split()
	if err != nil || split[id] == 0 {
		return err
	}
	req, err := e.Request(body)
	if err != nil {
		return err
	}
	// At a share of p percent, 2000/p requests all miss with a chance below 1e-8.
	for range 2000 / split[id] {
		resp, err := e.Ask(ctx, req)
		if err != nil {
			return err
		}
		if st.nameOf(resp.GetDeployedModelId()) == id {
			return nil
		}
	}
	return fmt.Errorf("ask %s: %w", e.Name(), fault.Newf(fault.Unavailable, "release %s has %d %% of the traffic and answered nothing", id, split[id]))
}
