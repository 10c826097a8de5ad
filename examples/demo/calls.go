package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	aiplatform "cloud.google.com/go/aiplatform/apiv1"
	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
)

// agent is what the demo calls itself, so that the front's log tells its
// requests from tftctl's own.
const agent = "tftctl-demo"

// asker sends one prediction request and returns the answer with the version
// of the model that gave it, such as v1.
type asker func(ctx context.Context, who string, body []byte) (answer []byte, version string, err error)

// calls is Google's official clients, pointed at the local cloud.
type calls struct {
	services    *run.ServicesClient
	endpoints   *aiplatform.EndpointClient
	predictions map[string]*aiplatform.PredictionClient // by who asks
	http        *http.Client
	url         string

	mu       sync.Mutex
	versions map[string]string // of deployed models, by id
}

func dial(ctx context.Context, c cloud) (*calls, error) {
	options := func(who string) []option.ClientOption {
		return []option.ClientOption{
			option.WithEndpoint(c.Endpoint), option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
			option.WithUserAgent(who),
		}
	}
	k := &calls{http: &http.Client{}, versions: map[string]string{}, predictions: map[string]*aiplatform.PredictionClient{}}
	var err, failed error
	k.services, err = run.NewServicesClient(ctx, options(agent)...)
	failed = errors.Join(failed, err)
	k.endpoints, err = aiplatform.NewEndpointClient(ctx, options(agent)...)
	failed = errors.Join(failed, err)
	for _, who := range []string{agent, streamAgent} {
		k.predictions[who], err = aiplatform.NewPredictionClient(ctx, options(who)...)
		failed = errors.Join(failed, err)
	}
	return k, failed
}

func (k *calls) close() error {
	k.http.CloseIdleConnections()
	err := errors.Join(k.services.Close(), k.endpoints.Close())
	for _, p := range k.predictions {
		err = errors.Join(err, p.Close())
	}
	return err
}

// address returns the service's, asked for once.
func (k *calls) address(ctx context.Context) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.url != "" {
		return k.url, nil
	}
	service, err := k.services.GetService(ctx, &runpb.GetServiceRequest{Name: parent() + "/services/" + name})
	if err != nil {
		return "", err
	}
	k.url = service.GetUri()
	return k.url, nil
}

func parent() string { return "projects/" + project + "/locations/" + region }

// run asks the Cloud Run service.
func (k *calls) run(ctx context.Context, who string, body []byte) ([]byte, string, error) {
	url, err := k.address(ctx)
	if err != nil {
		return nil, "", err
	}
	return k.post(ctx, who, url, body)
}

func (k *calls) post(ctx context.Context, who, url string, body []byte) ([]byte, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/predict", bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", who)
	req.GetBody = nil // nothing is sent twice behind our back
	resp, err := k.http.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, "", err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("status %d: %s", resp.StatusCode, answer)
	}
	return answer, versionOf(resp.Header.Get("X-Tft-Release")), nil
}

// versionOf returns the version in a release's name: v1 of v1-3f9a1c2b.
func versionOf(release string) string {
	version, _, _ := strings.Cut(release, "-")
	return version
}

// vertex asks the Vertex AI endpoint.
func (k *calls) vertex(ctx context.Context, who string, body []byte) ([]byte, string, error) {
	req := &aiplatformpb.PredictRequest{}
	if err := protojson.Unmarshal(body, req); err != nil {
		return nil, "", err
	}
	req.Endpoint = parent() + "/endpoints/" + name
	return k.predict(ctx, who, req)
}

func (k *calls) predict(ctx context.Context, who string, req *aiplatformpb.PredictRequest) ([]byte, string, error) {
	resp, err := k.predictions[who].Predict(ctx, req)
	if err != nil {
		return nil, "", err
	}
	version, err := k.deployed(ctx, resp.GetDeployedModelId())
	if err != nil {
		return nil, "", err
	}
	answer, err := protojson.Marshal(&aiplatformpb.PredictResponse{Predictions: resp.GetPredictions()})
	return answer, version, err
}

// deployed returns the version that a deployed model serves.
func (k *calls) deployed(ctx context.Context, id string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if version, ok := k.versions[id]; ok {
		return version, nil
	}
	endpoint, err := k.endpoints.GetEndpoint(ctx, &aiplatformpb.GetEndpointRequest{Name: parent() + "/endpoints/" + name})
	if err != nil {
		return "", err
	}
	for _, d := range endpoint.GetDeployedModels() {
		k.versions[d.GetId()] = versionOf(d.GetDisplayName())
	}
	if version, ok := k.versions[id]; ok {
		return version, nil
	}
	return "", fmt.Errorf("no deployed model %s", id)
}

// answersDiffer asks both versions at their own addresses and returns how far
// their answers are apart, at most.
func (k *calls) answersDiffer(ctx context.Context, goldenFile string) (float64, error) {
	g, err := readGolden(goldenFile)
	if err != nil {
		return 0, err
	}
	service, err := k.services.GetService(ctx, &runpb.GetServiceRequest{Name: parent() + "/services/" + name})
	if err != nil {
		return 0, err
	}
	body, err := json.Marshal(map[string]any{"instances": []json.RawMessage{g.Requests[0].Instance}})
	if err != nil {
		return 0, err
	}
	var answers [][]float64
	for _, t := range service.GetTrafficStatuses() {
		raw, _, err := k.post(ctx, agent, t.GetUri(), body)
		if err != nil {
			return 0, err
		}
		numbers, err := quantiles(raw)
		if err != nil {
			return 0, err
		}
		answers = append(answers, numbers)
	}
	if len(answers) != 2 {
		return 0, fmt.Errorf("%d versions have an address, want 2", len(answers))
	}
	return farthest(answers[0], answers[1])
}
