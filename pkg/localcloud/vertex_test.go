package localcloud_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"cloud.google.com/go/storage"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/tftctl/tftctl/pkg/localcloud/fleet/fleettest"
)

const model = region + "/models/forecast"

// container is a model's container: the test server with these variables.
func container(predict string, env ...string) *aiplatformpb.ModelContainerSpec {
	c := &aiplatformpb.ModelContainerSpec{ImageUri: "us-central1-docker.pkg.dev/demo/models/tftserve:1", PredictRoute: predict, HealthRoute: "/health/ready"}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		c.Env = append(c.Env, &aiplatformpb.EnvVar{Name: name, Value: value})
	}
	return c
}

func upload(t *testing.T, c *cloud, req *aiplatformpb.UploadModelRequest) *aiplatformpb.UploadModelResponse {
	t.Helper()
	op, err := c.models.UploadModel(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	res, err := op.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// uploadTwo makes the model with two versions.
func uploadTwo(t *testing.T, c *cloud) {
	t.Helper()
	m := func(n string, aliases ...string) *aiplatformpb.Model {
		return &aiplatformpb.Model{
			DisplayName: "forecast", Labels: map[string]string{"tft-version": n}, VersionAliases: aliases,
			ContainerSpec: container("/predict", "CHILD_GREETING=version "+n, "TFT_RELEASE=v"+n),
		}
	}
	first := upload(t, c, &aiplatformpb.UploadModelRequest{Parent: region, ModelId: "forecast", Model: m("1")})
	second := upload(t, c, &aiplatformpb.UploadModelRequest{Parent: region, ParentModel: model, Model: m("2", "candidate")})
	if first.GetModel() != model || first.GetModelVersionId() != "1" || second.GetModelVersionId() != "2" {
		t.Fatalf("the uploads made %v and %v", first, second)
	}
}

func newEndpoint(t *testing.T, c *cloud, id string) string {
	t.Helper()
	op, err := c.endpoints.CreateEndpoint(t.Context(), &aiplatformpb.CreateEndpointRequest{
		Parent: region, EndpointId: id, Endpoint: &aiplatformpb.Endpoint{DisplayName: id},
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := op.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e.GetName()
}

func deploy(t *testing.T, c *cloud, endpoint, version string, split map[string]int32) (*aiplatformpb.DeployedModel, error) {
	t.Helper()
	op, err := c.endpoints.DeployModel(t.Context(), &aiplatformpb.DeployModelRequest{
		Endpoint: endpoint, TrafficSplit: split,
		DeployedModel: &aiplatformpb.DeployedModel{
			Model: version,
			PredictionResources: &aiplatformpb.DeployedModel_DedicatedResources{
				DedicatedResources: &aiplatformpb.DedicatedResources{MinReplicaCount: 1},
			},
		},
	})
	if err != nil {
		return nil, err
	}
	res, err := op.Wait(t.Context())
	return res.GetDeployedModel(), err
}

func mustDeploy(t *testing.T, c *cloud, endpoint, version string, split map[string]int32) *aiplatformpb.DeployedModel {
	t.Helper()
	d, err := deploy(t, c, endpoint, version, split)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func ask(t *testing.T, c *cloud, endpoint string) (*aiplatformpb.PredictResponse, error) {
	t.Helper()
	return c.predict.Predict(t.Context(), &aiplatformpb.PredictRequest{
		Endpoint: endpoint, Instances: []*structpb.Value{structpb.NewStructValue(&structpb.Struct{})},
	})
}

func setSplit(t *testing.T, c *cloud, endpoint string, split map[string]int32) error {
	t.Helper()
	_, err := c.endpoints.UpdateEndpoint(t.Context(), &aiplatformpb.UpdateEndpointRequest{
		Endpoint:   &aiplatformpb.Endpoint{Name: endpoint, TrafficSplit: split},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"traffic_split"}},
	})
	return err
}

func TestDeployedModelsShareAnEndpoint(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	uploadTwo(t, c)
	e := newEndpoint(t, c, "forecasts")
	if _, err := ask(t, c, e); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("an endpoint without models answered %v", err)
	}

	one := mustDeploy(t, c, e, model, map[string]int32{"0": 100})
	two := mustDeploy(t, c, e, model+"@candidate", map[string]int32{one.GetId(): 90, "0": 10})
	if one.GetModelVersionId() != "1" || two.GetModelVersionId() != "2" || two.GetDisplayName() != "forecast" {
		t.Errorf("deployed %v and %v", one, two)
	}

	seen := map[string]int{}
	for range 200 {
		res, err := ask(t, c, e)
		if err != nil {
			t.Fatal(err)
		}
		seen[res.GetDeployedModelId()]++
		by := res.GetPredictions()[0].GetStructValue().AsMap()
		if by["deployed_id"] != res.GetDeployedModelId() || by["greeting"] != "version "+res.GetModelVersionId() || by["path"] != "/predict" ||
			res.GetModel() != model || res.GetModelDisplayName() != "forecast" {
			t.Fatalf("the answer says %v and its prediction %v", res, by)
		}
	}
	if seen[one.GetId()] != 180 || seen[two.GetId()] != 20 {
		t.Errorf("of 200 requests %v, want 180 to %s and 20 to %s", seen, one.GetId(), two.GetId())
	}

	for name, split := range map[string]map[string]int32{
		"over 100": {one.GetId(): 90, two.GetId(): 20}, "unknown": {one.GetId(): 50, "77": 50},
	} {
		if err := setSplit(t, c, e, split); status.Code(err) != codes.InvalidArgument {
			t.Errorf("a split %s ended with %v", name, err)
		}
	}
	if err := setSplit(t, c, e, map[string]int32{two.GetId(): 100}); err != nil {
		t.Fatal(err)
	}
	for range 20 { // from the moment that the update has answered
		if res, err := ask(t, c, e); err != nil || res.GetDeployedModelId() != two.GetId() {
			t.Fatalf("after the update %v answered, %v", res.GetDeployedModelId(), err)
		}
	}

	undeploy := func(id string, split map[string]int32) error {
		op, err := c.endpoints.UndeployModel(t.Context(), &aiplatformpb.UndeployModelRequest{Endpoint: e, DeployedModelId: id, TrafficSplit: split})
		if err != nil {
			return err
		}
		_, err = op.Wait(t.Context())
		return err
	}
	if err := undeploy(two.GetId(), nil); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("undeploying a model with traffic ended with %v", err)
	}
	if _, err := c.endpoints.DeleteEndpoint(t.Context(), &aiplatformpb.DeleteEndpointRequest{Name: e}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("deleting an endpoint with models ended with %v", err)
	}
	if _, err := c.models.DeleteModel(t.Context(), &aiplatformpb.DeleteModelRequest{Name: model}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("deleting a deployed model ended with %v", err)
	}
	if err := undeploy(one.GetId(), nil); err != nil {
		t.Fatal(err)
	}
	if err := undeploy(two.GetId(), nil); status.Code(err) != codes.OK {
		t.Errorf("undeploying the last model ended with %v", err)
	}
	op, err := c.endpoints.DeleteEndpoint(t.Context(), &aiplatformpb.DeleteEndpointRequest{Name: e})
	if err != nil {
		t.Fatal(err)
	}
	if err := op.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, c, e); status.Code(err) != codes.NotFound {
		t.Errorf("a deleted endpoint answered %v", err)
	}
}

func TestVersionsAndTheirAliases(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	uploadTwo(t, c)
	get := func(name string) *aiplatformpb.Model {
		t.Helper()
		m, err := c.models.GetModel(t.Context(), &aiplatformpb.GetModelRequest{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for name, want := range map[string]string{model: "1", model + "@default": "1", model + "@candidate": "2", model + "@2": "2"} {
		m := get(name)
		if m.GetVersionId() != want || m.GetLabels()["tft-version"] != want || m.GetName() != model {
			t.Errorf("%s is version %s of %s with labels %v, want version %s", name, m.GetVersionId(), m.GetName(), m.GetLabels(), want)
		}
	}
	m, err := c.models.MergeVersionAliases(t.Context(), &aiplatformpb.MergeVersionAliasesRequest{Name: model + "@2", VersionAliases: []string{"default", "stable", "-candidate"}})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(m.VersionAliases)
	if diff := cmp.Diff([]string{"default", "stable"}, m.GetVersionAliases()); diff != "" {
		t.Errorf("aliases of version 2:\n%s", diff)
	}
	if first := get(model + "@1"); len(first.GetVersionAliases()) != 0 || get(model).GetVersionId() != "2" {
		t.Errorf("version 1 still has %v", first.GetVersionAliases())
	}
	_, err = c.models.MergeVersionAliases(t.Context(), &aiplatformpb.MergeVersionAliasesRequest{Name: model + "@2", VersionAliases: []string{"-default"}})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("taking the default away ended with %v", err)
	}
	var versions []string
	for it := c.models.ListModelVersions(t.Context(), &aiplatformpb.ListModelVersionsRequest{Name: model, PageSize: 1}); ; {
		v, err := it.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, last(v.GetName())+" "+v.GetLabels()["tft-version"])
	}
	if diff := cmp.Diff([]string{"forecast@2 2", "forecast@1 1"}, versions); diff != "" {
		t.Errorf("versions:\n%s", diff)
	}
	_, err = c.models.UpdateModel(t.Context(), &aiplatformpb.UpdateModelRequest{
		Model: &aiplatformpb.Model{Name: model + "@1", DisplayName: "other"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name"}},
	})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("updating a model's field of a version ended with %v", err)
	}
	op, err := c.models.DeleteModelVersion(t.Context(), &aiplatformpb.DeleteModelVersionRequest{Name: model + "@1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := op.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.models.DeleteModelVersion(t.Context(), &aiplatformpb.DeleteModelVersionRequest{Name: model + "@2"}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("deleting the only version ended with %v", err)
	}
}

func TestArtifactIsTakenAsItWasAtUpload(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	client, err := storage.NewClient(t.Context(), option.WithEndpoint("http://"+c.control+"/storage/v1/"), option.WithoutAuthentication())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	bucket := client.Bucket("models")
	if err := bucket.Create(t.Context(), "demo", nil); err != nil {
		t.Fatal(err)
	}
	write := func(content string) {
		t.Helper()
		w := bucket.Object("forecast/v1/manifest.json").NewWriter(t.Context())
		w.Write([]byte(content))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write("as it was")
	upload(t, c, &aiplatformpb.UploadModelRequest{Parent: region, ModelId: "forecast", Model: &aiplatformpb.Model{
		DisplayName: "forecast", ArtifactUri: "gs://models/forecast/v1", ContainerSpec: container("/predict"),
	}})
	write("as it became")

	e := newEndpoint(t, c, "forecasts")
	mustDeploy(t, c, e, model, map[string]int32{"0": 100})
	res, err := ask(t, c, e)
	if err != nil {
		t.Fatal(err)
	}
	uri := res.GetPredictions()[0].GetStructValue().AsMap()["storage_uri"].(string)
	copied, folder, _ := strings.Cut(strings.TrimPrefix(uri, "gs://"), "/")
	r, err := client.Bucket(copied).Object(folder + "/manifest.json").NewReader(t.Context())
	if err != nil {
		t.Fatalf("read what AIP_STORAGE_URI=%s names: %v", uri, err)
	}
	defer r.Close()
	content := make([]byte, r.Attrs.Size)
	if n, _ := r.Read(content); string(content[:n]) != "as it was" {
		t.Errorf("the container finds %q", content)
	}

	op, err := c.models.UploadModel(t.Context(), &aiplatformpb.UploadModelRequest{Parent: region, Model: &aiplatformpb.Model{
		DisplayName: "forecast", ArtifactUri: "gs://models/nothing", ContainerSpec: container("/predict"),
	}})
	if err != nil {
		t.Fatal(err) // the operation fails, not the call
	}
	if _, err := op.Wait(t.Context()); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an upload of nothing ended with %v", err)
	}
}

func TestContainerThatDoesNotGetReadyIsNotDeployed(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	uploadTwo(t, c)
	upload(t, c, &aiplatformpb.UploadModelRequest{Parent: region, ParentModel: model, Model: &aiplatformpb.Model{
		DisplayName: "forecast", ContainerSpec: container("/predict", fleettest.Fail+"=the digest does not match"),
	}})
	e := newEndpoint(t, c, "forecasts")
	one := mustDeploy(t, c, e, model+"@1", map[string]int32{"0": 100})
	if _, err := deploy(t, c, e, model+"@3", map[string]int32{"0": 100}); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "the digest does not match") {
		t.Errorf("the operation ended with %v", err)
	}
	if res, err := ask(t, c, e); err != nil || res.GetDeployedModelId() != one.GetId() {
		t.Errorf("%v answered, %v", res, err)
	}
	got, err := c.endpoints.GetEndpoint(t.Context(), &aiplatformpb.GetEndpointRequest{Name: e})
	if err != nil || len(got.GetDeployedModels()) != 1 || got.GetTrafficSplit()[one.GetId()] != 100 {
		t.Errorf("the endpoint is %v, %v", got, err)
	}
}

func TestContainerErrorIsTheCallers(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	upload(t, c, &aiplatformpb.UploadModelRequest{Parent: region, ModelId: "forecast", Model: &aiplatformpb.Model{
		DisplayName: "forecast", ContainerSpec: container("/refuse"),
	}})
	e := newEndpoint(t, c, "forecasts")
	d := mustDeploy(t, c, e, model, map[string]int32{"0": 100})
	_, err := ask(t, c, e)
	want := "Failed to handle request. endpoint_id: forecasts, deployed_model_id: " + d.GetId() + " with error: instances[0] is not what the model takes"
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want InvalidArgument: %s", err, want)
	}
}

func TestRawPredictPassesTheBodyThrough(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	upload(t, c, &aiplatformpb.UploadModelRequest{Parent: region, ModelId: "forecast", Model: &aiplatformpb.Model{
		DisplayName: "forecast", ContainerSpec: container("/echo"),
	}})
	e := newEndpoint(t, c, "forecasts")
	d := mustDeploy(t, c, e, model, map[string]int32{"0": 100})
	client := aiplatformpb.NewPredictionServiceClient(c.conn)
	var header grpcmetadata.MD
	res, err := client.RawPredict(t.Context(), &aiplatformpb.RawPredictRequest{
		Endpoint: e, HttpBody: &httpbody.HttpBody{ContentType: "text/csv", Data: []byte("a,b\n1,2\n")},
	}, grpc.Header(&header))
	if err != nil {
		t.Fatal(err)
	}
	if res.GetContentType() != "text/csv" || string(res.GetData()) != "a,b\n1,2\n" {
		t.Errorf("got %v", res)
	}
	if got := header.Get("x-vertex-ai-deployed-model-id"); len(got) != 1 || got[0] != d.GetId() {
		t.Errorf("x-vertex-ai-deployed-model-id is %v, want %s", got, d.GetId())
	}
	_, err = c.predict.Explain(t.Context(), &aiplatformpb.ExplainRequest{Endpoint: e})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "Explain") {
		t.Errorf("Explain answered %v, want Unimplemented with its name", err)
	}
}
