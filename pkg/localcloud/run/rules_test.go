package run

import (
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
)

// complete is a service that breaks no rule.
func complete() *runpb.Service {
	s := &runpb.Service{Template: &runpb.RevisionTemplate{Containers: []*runpb.Container{{Image: "example.com/tftserve@sha256:0123"}}}}
	fillDefaults("demo", s)
	return s
}

func TestDefaultsAreGooglesAndStay(t *testing.T) {
	t.Parallel()
	const want = `{
		"ingress": "INGRESS_TRAFFIC_ALL", "launchStage": "GA",
		"traffic": [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}],
		"template": {
			"scaling": {"maxInstanceCount": 100}, "timeout": "300s", "maxInstanceRequestConcurrency": 80,
			"serviceAccount": "NUMBER-compute@developer.gserviceaccount.com",
			"containers": [{
				"image": "example.com/tftserve@sha256:0123",
				"ports": [{"name": "http1", "containerPort": 8080}],
				"resources": {"limits": {"cpu": "1000m", "memory": "512Mi"}, "cpuIdle": true},
				"startupProbe": {"timeoutSeconds": 240, "periodSeconds": 240, "failureThreshold": 1, "tcpSocket": {"port": 8080}}
			}]
		}
	}`
	var golden runpb.Service
	if err := protojson.Unmarshal([]byte(strings.ReplaceAll(want, "NUMBER", ProjectNumber("demo"))), &golden); err != nil {
		t.Fatal(err)
	}
	got := complete()
	if diff := cmp.Diff(&golden, got, protocmp.Transform()); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	again := proto.CloneOf(got)
	fillDefaults("demo", again)
	if diff := cmp.Diff(got, again, protocmp.Transform()); diff != "" {
		t.Errorf("filling in twice changes something:\n%s", diff)
	}
	if err := checkService("forecaster", got); err != nil {
		t.Errorf("a service of defaults is refused: %v", err)
	}
}

func TestResourcesSentAtAllMeanNoCPUIdle(t *testing.T) {
	t.Parallel()
	s := complete()
	s.Template.Containers[0].Resources = &runpb.ResourceRequirements{Limits: map[string]string{"cpu": "0.5"}}
	s.Template.MaxInstanceRequestConcurrency = 0
	fillDefaults("demo", s)
	if s.Template.Containers[0].Resources.CpuIdle || s.Template.MaxInstanceRequestConcurrency != 1 {
		t.Errorf("cpu_idle %v and concurrency %d, want false and, under one cpu, 1", s.Template.Containers[0].Resources.CpuIdle, s.Template.MaxInstanceRequestConcurrency)
	}
}

func TestServicesThatAreRefused(t *testing.T) {
	t.Parallel()
	container := func(change func(*runpb.Container)) func(*runpb.Service) {
		return func(s *runpb.Service) { change(s.Template.Containers[0]) }
	}
	env := func(name, value string) *runpb.EnvVar {
		return &runpb.EnvVar{Name: name, Values: &runpb.EnvVar_Value{Value: value}}
	}
	for name, test := range map[string]struct {
		breaks func(*runpb.Service)
		want   string
		code   codes.Code
	}{
		"no image":         {breaks: container(func(c *runpb.Container) { c.Image = "" }), want: "image"},
		"no container":     {breaks: func(s *runpb.Service) { s.Template.Containers = nil }, want: "containers"},
		"two containers":   {breaks: func(s *runpb.Service) { s.Template.Containers = append(s.Template.Containers, &runpb.Container{}) }, want: "more than one container", code: codes.Unimplemented},
		"long description": {breaks: func(s *runpb.Service) { s.Description = strings.Repeat("ü", 513) }, want: "512"},
		"reserved label":   {breaks: func(s *runpb.Service) { s.Labels = map[string]string{"run.googleapis.com/x": "y"} }, want: "reserved"},
		"reserved annotation": {breaks: func(s *runpb.Service) {
			s.Template.Annotations = map[string]string{"autoscaling.knative.dev/maxScale": "y"}
		}, want: "reserved"},
		"reserved variable":     {breaks: container(func(c *runpb.Container) { c.Env = append(c.Env, env("K_SERVICE", "x")) }), want: "K_SERVICE"},
		"variable twice":        {breaks: container(func(c *runpb.Container) { c.Env = append(c.Env, env("A", "1"), env("A", "2")) }), want: "twice"},
		"long value":            {breaks: container(func(c *runpb.Container) { c.Env = append(c.Env, env("A", strings.Repeat("x", 32769))) }), want: "32768"},
		"revision's prefix":     {breaks: func(s *runpb.Service) { s.Template.Revision = "other-1" }, want: `"forecaster-"`},
		"long revision":         {breaks: func(s *runpb.Service) { s.Template.Revision = "forecaster-" + strings.Repeat("x", 53) }, want: "63"},
		"timeout over an hour":  {breaks: func(s *runpb.Service) { s.Template.Timeout = durationpb.New(time.Hour + time.Second) }, want: "timeout"},
		"concurrency over 1000": {breaks: func(s *runpb.Service) { s.Template.MaxInstanceRequestConcurrency = 1001 }, want: "1000"},
		"min over max":          {breaks: func(s *runpb.Service) { s.Template.Scaling.MinInstanceCount = 101 }, want: "min_instance_count"},
		"volume":                {breaks: func(s *runpb.Service) { s.Template.Volumes = []*runpb.Volume{{Name: "v"}} }, want: "volumes", code: codes.Unimplemented},
		"h2c":                   {breaks: container(func(c *runpb.Container) { c.Ports[0].Name = "h2c" }), want: "h2c", code: codes.Unimplemented},
		"cpu and memory":        {breaks: container(func(c *runpb.Container) { c.Resources.Limits = map[string]string{"cpu": "1", "memory": "8Gi"} }), want: "8Gi"},
		"little memory":         {breaks: container(func(c *runpb.Container) { c.Resources.Limits = map[string]string{"cpu": "8", "memory": "2Gi"} }), want: "2Gi"},
		"half a cpu at 80":      {breaks: container(func(c *runpb.Container) { c.Resources.Limits["cpu"] = "500m" }), want: "concurrency"},
		"three cpus":            {breaks: container(func(c *runpb.Container) { c.Resources.Limits["cpu"] = "3" }), want: "cpu"},
		"timeout over period":   {breaks: container(func(c *runpb.Container) { c.StartupProbe.PeriodSeconds = 10 }), want: "timeout_seconds"},
		"slow to start": {breaks: container(func(c *runpb.Container) {
			c.StartupProbe.PeriodSeconds, c.StartupProbe.TimeoutSeconds, c.StartupProbe.FailureThreshold = 121, 1, 2
		}), want: "over 240"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := complete()
			test.breaks(s)
			err := checkService("forecaster", s)
			code := codes.InvalidArgument
			if test.code != codes.OK {
				code = test.code
			}
			if status.Code(err) != code || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s with %q", err, code, test.want)
			}
		})
	}
}

func TestTrafficRules(t *testing.T) {
	t.Parallel()
	known := func(r string) bool { return r == "svc-1" || r == "svc-2" }
	pin := func(r string, percent int32, tag string) *runpb.TrafficTarget {
		return &runpb.TrafficTarget{Type: named, Revision: r, Percent: percent, Tag: tag}
	}
	for name, test := range map[string]struct {
		traffic []*runpb.TrafficTarget
		want    string // empty: it is right
	}{
		"all to the latest":     {traffic: []*runpb.TrafficTarget{{Type: latest, Percent: 100}}},
		"split":                 {traffic: []*runpb.TrafficTarget{pin("svc-1", 90, ""), pin("svc-2", 10, "next")}},
		"tag alone":             {traffic: []*runpb.TrafficTarget{pin("svc-1", 100, ""), pin("svc-2", 0, "next")}},
		"one revision two tags": {traffic: []*runpb.TrafficTarget{pin("svc-1", 50, "one"), pin("svc-1", 50, "two")}},
		"99":                    {traffic: []*runpb.TrafficTarget{pin("svc-1", 99, "")}, want: "99, not to 100"},
		"105":                   {traffic: []*runpb.TrafficTarget{pin("svc-1", 95, ""), pin("svc-2", 10, "")}, want: "105"},
		"negative":              {traffic: []*runpb.TrafficTarget{pin("svc-1", 110, ""), pin("svc-2", -10, "")}, want: "110"},
		"unknown revision":      {traffic: []*runpb.TrafficTarget{pin("svc-3", 100, "")}, want: "svc-3"},
		"short tag":             {traffic: []*runpb.TrafficTarget{pin("svc-1", 100, "ab")}, want: "at least 3"},
		"capital tag":           {traffic: []*runpb.TrafficTarget{pin("svc-1", 100, "Next")}, want: "Next"},
		"same tag twice":        {traffic: []*runpb.TrafficTarget{pin("svc-1", 50, "tag"), pin("svc-2", 50, "tag")}, want: "twice"},
		"long tag":              {traffic: []*runpb.TrafficTarget{pin("svc-1", 100, strings.Repeat("t", 44))}, want: "46"},
		"longest tag":           {traffic: []*runpb.TrafficTarget{pin("svc-1", 100, strings.Repeat("t", 43))}},
		"latest with a name":    {traffic: []*runpb.TrafficTarget{{Type: latest, Revision: "svc-1", Percent: 100}}, want: "LATEST"},
		"no type":               {traffic: []*runpb.TrafficTarget{{Revision: "svc-1", Percent: 100}}, want: "type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := checkTraffic("svc", test.traffic, known)
			if test.want == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if test.want != "" && (status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want InvalidArgument with %q", err, test.want)
			}
		})
	}
}

func TestServiceIDs(t *testing.T) {
	t.Parallel()
	for id, right := range map[string]bool{
		"a": true, "forecaster-2": true, strings.Repeat("a", 49): true,
		"": false, "2a": false, "-a": false, "a-": false, "A": false, "a_b": false, strings.Repeat("a", 50): false,
	} {
		if err := checkServiceID(id); (err == nil) != right {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestMaskNamesWhatChanges(t *testing.T) {
	t.Parallel()
	current := complete()
	current.Labels = map[string]string{"team": "sre"}
	current.Uid, current.Generation = "uid", 7
	update := &runpb.Service{Description: "new", Template: &runpb.RevisionTemplate{MaxInstanceRequestConcurrency: 4}}

	got, err := merge(current, update, []string{"description", "template.max_instance_request_concurrency"})
	if err != nil {
		t.Fatal(err)
	}
	want := wantedOf(current)
	want.Description, want.Template.MaxInstanceRequestConcurrency = "new", 4
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
	if got, err = merge(current, update, []string{"labels"}); err != nil || len(got.Labels) != 0 {
		t.Errorf("a mask over a field that is not sent left %v, %v", got.GetLabels(), err)
	}
	if _, err = merge(current, update, []string{"template.nothing"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an unknown field ended with %v", err)
	}
	if got, err = merge(current, update, nil); err != nil || got.Labels != nil || got.Uid != "" {
		t.Errorf("without a mask all is replaced, but got %v, %v", got, err)
	}
}

func TestTemplateThatNamesNoRevisionIsNotDifferentForThat(t *testing.T) {
	t.Parallel()
	named := complete().Template
	named.Revision = "svc-1"
	unnamed := complete().Template
	if !sameTemplate(named, unnamed) {
		t.Error("a template that was sent without the name makes a revision")
	}
	unnamed.Revision = "svc-2"
	if sameTemplate(named, unnamed) {
		t.Error("a template with another name makes none")
	}
}
