package vertex

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/tftctl/tftctl/pkg/localcloud/front"
	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// The limits of an endpoint that is shared, which all of ours are.
const (
	mostPayload    = 1_500_000
	predictTimeout = 60 * time.Second
)

// Predict asks a deployed model for predictions.
func (s predictionService) Predict(ctx context.Context, req *aiplatformpb.PredictRequest) (*aiplatformpb.PredictResponse, error) {
	body, err := predictBody(req)
	if err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	answer, d, err := s.ask(ctx, req.GetEndpoint(), header, body)
	if err != nil {
		return nil, err
	}
	var fields struct {
		Predictions []json.RawMessage `json:"predictions"`
		Metadata    json.RawMessage   `json:"metadata"`
	}
	if err := json.Unmarshal(answer.Body, &fields); err != nil || fields.Predictions == nil {
		return nil, containerError(req.GetEndpoint(), d.GetId(), "the answer has no list \"predictions\"")
	}
	res := &aiplatformpb.PredictResponse{
		DeployedModelId: d.GetId(), Model: d.GetModel(), ModelVersionId: d.GetModelVersionId(), ModelDisplayName: d.GetDisplayName(),
	}
	for _, p := range fields.Predictions {
		var v structpb.Value
		if err := protojson.Unmarshal(p, &v); err != nil {
			return nil, containerError(req.GetEndpoint(), d.GetId(), err.Error())
		}
		res.Predictions = append(res.Predictions, &v)
	}
	if len(fields.Metadata) > 0 {
		res.Metadata = &structpb.Value{}
		if err := protojson.Unmarshal(fields.Metadata, res.Metadata); err != nil {
			return nil, containerError(req.GetEndpoint(), d.GetId(), err.Error())
		}
	}
	return res, nil
}

// predictBody is the request as the container gets it.
func predictBody(req *aiplatformpb.PredictRequest) ([]byte, error) {
	var body bytes.Buffer
	body.WriteString(`{"instances":[`)
	for i, instance := range req.GetInstances() {
		if i > 0 {
			body.WriteByte(',')
		}
		v, err := protojson.Marshal(instance)
		if err != nil {
			return nil, invalid("instances", "%v", err)
		}
		body.Write(v)
	}
	body.WriteByte(']')
	if req.GetParameters() != nil {
		v, err := protojson.Marshal(req.GetParameters())
		if err != nil {
			return nil, invalid("parameters", "%v", err)
		}
		body.WriteString(`,"parameters":`)
		body.Write(v)
	}
	body.WriteByte('}')
	return body.Bytes(), nil
}

// RawPredict asks a deployed model with a body of the caller's own making.
func (s predictionService) RawPredict(ctx context.Context, req *aiplatformpb.RawPredictRequest) (*httpbody.HttpBody, error) {
	header := http.Header{}
	if kind := req.GetHttpBody().GetContentType(); kind != "" {
		header.Set("Content-Type", kind)
	}
	answer, d, err := s.ask(ctx, req.GetEndpoint(), header, req.GetHttpBody().GetData())
	if err != nil {
		return nil, err
	}
	err = grpc.SetHeader(ctx, grpcmetadata.Pairs(
		"x-vertex-ai-endpoint-id", last(req.GetEndpoint()),
		"x-vertex-ai-deployed-model-id", d.GetId(),
	))
	if err != nil {
		return nil, err
	}
	return &httpbody.HttpBody{ContentType: answer.Header.Get("Content-Type"), Data: answer.Body}, nil
}

// ask sends a body to one of the endpoint's deployed models, by the split, and
// returns the answer with the model that gave it.
func (s predictionService) ask(ctx context.Context, endpoint string, header http.Header, body []byte) (*front.Answer, *aiplatformpb.DeployedModel, error) {
	if err := checkName(endpointName, "endpoint", endpoint, endpointExample); err != nil {
		return nil, nil, err
	}
	if len(body) > mostPayload {
		return nil, nil, status.Errorf(codes.InvalidArgument, "Request payload size exceeds the limit: %d bytes.", mostPayload)
	}
	var key string
	err := s.Store.View(func(tx *state.Tx) error {
		_, err := needEndpoint(tx, endpoint)
		key = front.Claimed(tx, endpoint)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if agent := grpcmetadata.ValueFromIncomingContext(ctx, "user-agent"); len(agent) > 0 {
		header.Set("User-Agent", agent[0]) // for the request log: who asked
	}
	answer, err := s.Front.Call(ctx, key, front.Request{Method: http.MethodPost, Header: header, Body: body}, mostPayload)
	if err != nil {
		return nil, nil, predictError(endpoint, err)
	}
	d := answer.Target.Detail.(*aiplatformpb.DeployedModel) // as sync has routed it
	if answer.Status < 200 || answer.Status > 299 {
		return nil, nil, containerError(endpoint, d.GetId(), string(bytes.ToValidUTF8(answer.Body, []byte("?"))))
	}
	return answer, d, nil
}

// predictError says in Google's words why there is no answer.
func predictError(endpoint string, err error) error {
	unanswered := new(front.Unanswered)
	id := ""
	if errors.As(err, &unanswered) {
		id = last(unanswered.Backend)
	}
	switch {
	case errors.Is(err, front.ErrTooLarge):
		return containerError(endpoint, id, "the response is larger than the limit")
	case errors.Is(err, front.ErrNoTarget):
		return status.Errorf(codes.FailedPrecondition, "The endpoint %q has no deployed model with traffic.", endpoint)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	case errors.As(err, &unanswered) && unanswered.Status == http.StatusGatewayTimeout:
		return status.Errorf(codes.DeadlineExceeded, "The model did not answer within %s.", predictTimeout)
	case errors.As(err, &unanswered) && unanswered.Status == http.StatusBadGateway:
		return status.Errorf(codes.Unavailable, "The model server broke off without an answer. endpoint_id: %s, deployed_model_id: %s", last(endpoint), id)
	}
	return status.Errorf(codes.Unavailable, "No replica is ready. endpoint_id: %s", last(endpoint))
}

// containerError is Google's answer to whatever a container complains about: it
// is the caller's fault until proven otherwise.
func containerError(endpoint, id, why string) error {
	return status.Errorf(codes.InvalidArgument, "Failed to handle request. endpoint_id: %s, deployed_model_id: %s with error: %s", last(endpoint), id, why)
}
