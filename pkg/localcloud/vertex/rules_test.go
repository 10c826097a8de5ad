package vertex

import (
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func completeModel() *aiplatformpb.Model {
	return &aiplatformpb.Model{
		DisplayName: "forecast", ArtifactUri: "gs://models/forecast/v1",
		ContainerSpec: &aiplatformpb.ModelContainerSpec{ImageUri: "example.com/tftserve:1", PredictRoute: "/predict", HealthRoute: "/health/ready"},
	}
}

func TestModelsThatAreRefused(t *testing.T) {
	t.Parallel()
	if err := checkModel(completeModel()); err != nil {
		t.Fatalf("a complete model is refused: %v", err)
	}
	for name, test := range map[string]struct {
		breaks func(*aiplatformpb.Model)
		want   string
		code   codes.Code
	}{
		"no display name":   {breaks: func(m *aiplatformpb.Model) { m.DisplayName = "" }, want: "display_name"},
		"long display name": {breaks: func(m *aiplatformpb.Model) { m.DisplayName = strings.Repeat("ä", 129) }, want: "128"},
		"no image":          {breaks: func(m *aiplatformpb.Model) { m.ContainerSpec.ImageUri = "" }, want: "image_uri"},
		"capital label":     {breaks: func(m *aiplatformpb.Model) { m.Labels = map[string]string{"Team": "sre"} }, want: "Team"},
		"numeric alias":     {breaks: func(m *aiplatformpb.Model) { m.VersionAliases = []string{"2"} }, want: "alias"},
		"short alias":       {breaks: func(m *aiplatformpb.Model) { m.VersionAliases = []string{"a"} }, want: "alias"},
		"AIP_ variable": {breaks: func(m *aiplatformpb.Model) {
			m.ContainerSpec.Env = []*aiplatformpb.EnvVar{{Name: "AIP_MODE", Value: "x"}}
		}, want: "AIP_"},
		"folder of no bucket": {breaks: func(m *aiplatformpb.Model) { m.ArtifactUri = "/models/forecast" }, want: "gs://"},
		"bare route":          {breaks: func(m *aiplatformpb.Model) { m.ContainerSpec.PredictRoute = "predict" }, want: "slash"},
		"long deployment":     {breaks: func(m *aiplatformpb.Model) { m.ContainerSpec.DeploymentTimeout = durationpb.New(3 * time.Hour) }, want: "2h"},
		"command":             {breaks: func(m *aiplatformpb.Model) { m.ContainerSpec.Command = []string{"sh"} }, want: "command", code: codes.Unimplemented},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := completeModel()
			test.breaks(m)
			code := codes.InvalidArgument
			if test.code != codes.OK {
				code = test.code
			}
			if err := checkModel(m); status.Code(err) != code || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s with %q", err, code, test.want)
			}
		})
	}
}

func TestEndpointIDs(t *testing.T) {
	t.Parallel()
	for id, right := range map[string]bool{
		"": true, "forecasts": true, "a-1": true, "1234567890": true, strings.Repeat("a", 63): true,
		"12345678901": false, "-a": false, "A": false, strings.Repeat("a", 64): false, "1a": false,
	} {
		if err := checkEndpoint(id, &aiplatformpb.Endpoint{DisplayName: "e"}); (err == nil) != right {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestSplitRules(t *testing.T) {
	t.Parallel()
	deployed := []string{"1", "2"}
	for name, test := range map[string]struct {
		split map[string]int32
		right bool
	}{
		"empty":    {split: nil, right: true},
		"one":      {split: map[string]int32{"1": 100}, right: true},
		"both":     {split: map[string]int32{"1": 90, "2": 10}, right: true},
		"with 0":   {split: map[string]int32{"1": 100, "2": 0}, right: true},
		"under":    {split: map[string]int32{"1": 90}},
		"over":     {split: map[string]int32{"1": 90, "2": 20}},
		"negative": {split: map[string]int32{"1": 110, "2": -10}},
		"unknown":  {split: map[string]int32{"1": 50, "3": 50}},
	} {
		if err := checkSplit(test.split, deployed); (err == nil) != test.right {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestResourcesAreFilledAndChecked(t *testing.T) {
	t.Parallel()
	with := func(r *aiplatformpb.DedicatedResources) *aiplatformpb.DeployedModel {
		return &aiplatformpb.DeployedModel{PredictionResources: &aiplatformpb.DeployedModel_DedicatedResources{DedicatedResources: r}}
	}
	d := with(&aiplatformpb.DedicatedResources{MinReplicaCount: 2, AutoscalingMetricSpecs: []*aiplatformpb.AutoscalingMetricSpec{{MetricName: "cpu"}}})
	if err := fillResources(d); err != nil {
		t.Fatal(err)
	}
	r := d.GetDedicatedResources()
	if r.GetMachineSpec().GetMachineType() != "n1-standard-2" || r.GetMaxReplicaCount() != 2 || r.GetRequiredReplicaCount() != 2 || r.GetAutoscalingMetricSpecs()[0].GetTarget() != 60 {
		t.Errorf("filled in: %v", r)
	}
	for name, d := range map[string]*aiplatformpb.DeployedModel{
		"nothing":        {},
		"scale to zero":  with(&aiplatformpb.DedicatedResources{}),
		"max under min":  with(&aiplatformpb.DedicatedResources{MinReplicaCount: 2, MaxReplicaCount: 1}),
		"required > min": with(&aiplatformpb.DedicatedResources{MinReplicaCount: 1, RequiredReplicaCount: 2}),
	} {
		if err := fillResources(d); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v, want InvalidArgument", name, err)
		}
	}
}

func TestUndeployTakesTheTrafficAlong(t *testing.T) {
	t.Parallel()
	endpoint := func() *aiplatformpb.Endpoint {
		return &aiplatformpb.Endpoint{
			DeployedModels: []*aiplatformpb.DeployedModel{{Id: "1"}, {Id: "2"}},
			TrafficSplit:   map[string]int32{"1": 90, "2": 10},
		}
	}
	for name, test := range map[string]struct {
		split map[string]int32
		code  codes.Code
	}{
		"with traffic":    {split: nil, code: codes.FailedPrecondition},
		"still named":     {split: map[string]int32{"1": 90, "2": 10}, code: codes.InvalidArgument},
		"moved":           {split: map[string]int32{"1": 100}, code: codes.OK},
		"moved and named": {split: map[string]int32{"1": 100, "2": 0}, code: codes.OK},
	} {
		e := endpoint()
		err := undeploy(e, "2", test.split)
		if status.Code(err) != test.code {
			t.Errorf("%s: %v, want %s", name, err, test.code)
		}
		if err == nil && !cmp.Equal(e.TrafficSplit, map[string]int32{"1": 100}) {
			t.Errorf("%s: left %v", name, e.TrafficSplit)
		}
	}
	e := endpoint()
	e.DeployedModels = e.DeployedModels[:1]
	if err := undeploy(e, "1", nil); err != nil || len(e.TrafficSplit) != 0 {
		t.Errorf("the last one: %v, left %v", err, e.TrafficSplit)
	}
}

func TestVariablesAreExpanded(t *testing.T) {
	t.Parallel()
	v := func(name, value string) *aiplatformpb.EnvVar { return &aiplatformpb.EnvVar{Name: name, Value: value} }
	got := expand([]*aiplatformpb.EnvVar{
		v("A", "port $(AIP_HTTP_PORT)"), v("B", "$(A)!"), v("C", "$(LATER) $$(A) $ $(A"), v("LATER", "x"),
	}, map[string]string{"AIP_HTTP_PORT": "8080"})
	want := []string{"A=port 8080", "B=port 8080!", "C=$(LATER) $(A) $ $(A", "LATER=x"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	labels := map[string]string{"team": "sre", "empty": ""}
	for filter, want := range map[string]bool{
		"": true, `display_name="forecast"`: true, `display_name="other"`: false, `displayName = "forecast"`: true,
		"labels.team=sre": true, `labels.team="ops"`: false, "labels.empty:*": true, "labels.none:*": false,
		"model=m1": true, "model=m": false, `display_name="forecast" AND labels.team=sre`: true, `labels.team=sre AND labels.none:*`: false,
	} {
		match, err := parseFilter(filter, "model", "models")
		if err != nil {
			t.Errorf("%q: %v", filter, err)
			continue
		}
		if got := match("projects/p/locations/l/models/m1", "forecast", labels); got != want {
			t.Errorf("%q: %v, want %v", filter, got, want)
		}
	}
	if _, err := parseFilter("create_time > 3", "model", "models"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a filter that is not understood: %v", err)
	}
}
