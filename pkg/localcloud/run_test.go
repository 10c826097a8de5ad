package localcloud_test

import (
	"strings"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tftctl/tftctl/pkg/localcloud/fleet/fleettest"
)

const region = "projects/demo/locations/us-central1"

const (
	latest = runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST
	named  = runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
)

// template is a revision of the test server with these variables.
func template(revision string, env ...string) *runpb.RevisionTemplate {
	c := &runpb.Container{Image: "us-central1-docker.pkg.dev/demo/models/tftserve@sha256:0123"}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		c.Env = append(c.Env, &runpb.EnvVar{Name: name, Values: &runpb.EnvVar_Value{Value: value}})
	}
	return &runpb.RevisionTemplate{Revision: revision, Containers: []*runpb.Container{c}}
}

func pin(revision string, percent int32, tag string) *runpb.TrafficTarget {
	return &runpb.TrafficTarget{Type: named, Revision: revision, Percent: percent, Tag: tag}
}

func create(t *testing.T, c *cloud, id string, s *runpb.Service) *runpb.Service {
	t.Helper()
	op, err := c.services.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: region, ServiceId: id, Service: s})
	if err != nil {
		t.Fatal(err)
	}
	made, err := op.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func update(t *testing.T, c *cloud, s *runpb.Service) (*runpb.Service, error) {
	t.Helper()
	op, err := c.services.UpdateService(t.Context(), &runpb.UpdateServiceRequest{Service: s})
	if err != nil {
		return nil, err
	}
	return op.Wait(t.Context())
}

func mustUpdate(t *testing.T, c *cloud, s *runpb.Service) *runpb.Service {
	t.Helper()
	s, err := update(t, c, s)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestServiceIsServedByItsRevision(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	s := create(t, c, "forecaster", &runpb.Service{Template: template("", "CHILD_GREETING=hello")})

	if s.GetReconciling() || s.GetGeneration() != 1 || s.GetObservedGeneration() != 1 || s.GetTerminalCondition().GetState() != runpb.Condition_CONDITION_SUCCEEDED {
		t.Errorf("the service has not settled: %v", s)
	}
	if s.GetLatestReadyRevision() != s.GetLatestCreatedRevision() || s.GetLatestReadyRevision() == "" {
		t.Errorf("latest ready %q, latest created %q", s.GetLatestReadyRevision(), s.GetLatestCreatedRevision())
	}
	if got, want := s.GetUri(), "http://"+c.front+"/run/us-central1/forecaster"; got != want {
		t.Errorf("uri %s, want %s", got, want)
	}
	if len(s.GetTrafficStatuses()) != 1 || s.GetTrafficStatuses()[0].GetType() != latest || s.GetTrafficStatuses()[0].GetPercent() != 100 {
		t.Errorf("traffic statuses %v", s.GetTrafficStatuses())
	}
	if got, want := s.GetTemplate().GetContainers()[0].GetImage(), "us-central1-docker.pkg.dev/demo/models/tftserve@sha256:0123"; got != want {
		t.Errorf("image %s, want %s as it was sent", got, want)
	}
	r := c.get(t, s.GetUri()+"/some/path?x=1")
	if r.Service != "forecaster" || r.Greeting != "hello" || !strings.HasSuffix(s.GetLatestReadyRevision(), "/"+r.Revision) || r.Path != "/some/path?x=1" {
		t.Errorf("the server answered %+v", r)
	}

	again := mustUpdate(t, c, s)
	if again.GetGeneration() != 1 || again.GetLatestCreatedRevision() != s.GetLatestCreatedRevision() {
		t.Errorf("a service that was sent back as it was read became generation %d with %s", again.GetGeneration(), again.GetLatestCreatedRevision())
	}
}

func TestSplitIsSeenInAnswers(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	s := create(t, c, "split", &runpb.Service{Template: template("split-v1"), Traffic: []*runpb.TrafficTarget{pin("split-v1", 100, "")}})

	s.Template = template("split-v2")
	s.Traffic = []*runpb.TrafficTarget{pin("split-v1", 100, ""), pin("split-v2", 0, "next")}
	s = mustUpdate(t, c, s)
	if r := c.get(t, s.GetUri()); r.Revision != "split-v1" {
		t.Errorf("a revision without traffic answered: %+v", r)
	}
	if r := c.get(t, s.GetTrafficStatuses()[1].GetUri()); r.Revision != "split-v2" {
		t.Errorf("the tag was answered by %+v", r)
	}

	s.Traffic = []*runpb.TrafficTarget{pin("split-v1", 90, ""), pin("split-v2", 10, "next")}
	s = mustUpdate(t, c, s)
	seen := map[string]int{}
	for range 300 {
		seen[c.get(t, s.GetUri()).Revision]++
	}
	if seen["split-v1"] != 270 || seen["split-v2"] != 30 {
		t.Errorf("of 300 requests %v, want 270 and 30", seen)
	}

	s.Traffic = []*runpb.TrafficTarget{pin("split-v1", 100, "")}
	s = mustUpdate(t, c, s)
	for range 50 {
		if r := c.get(t, s.GetUri()); r.Revision != "split-v1" {
			t.Fatalf("after the rollback %s answered", r.Revision)
		}
	}
	var counts struct {
		Total     int            `json:"total"`
		Failed    int            `json:"failed"`
		ByBackend map[string]int `json:"by_backend"`
	}
	c.fetch(t, "http://"+c.control+"/_local/requests", &counts)
	if counts.Total != 352 || counts.Failed != 0 || counts.ByBackend["run/us-central1/split/split-v2"] != 31 {
		t.Errorf("the front counted %+v", counts)
	}
}

func TestFailingRevisionLeavesTheTraffic(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	s := create(t, c, "careful", &runpb.Service{Template: template("careful-v1")})

	broken := proto.CloneOf(s)
	broken.Template = template("careful-v2", fleettest.Fail+"=the model is corrupt")
	_, err := update(t, c, broken)
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "the model is corrupt") || !strings.Contains(err.Error(), "careful-v2") {
		t.Errorf("the operation ended with %v", err)
	}
	if r := c.get(t, s.GetUri()); r.Revision != "careful-v1" {
		t.Errorf("%s answered", r.Revision)
	}
	now, err := c.services.GetService(t.Context(), &runpb.GetServiceRequest{Name: s.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	if now.GetReconciling() || now.GetObservedGeneration() != 1 || last(now.GetLatestReadyRevision()) != "careful-v1" ||
		last(now.GetLatestCreatedRevision()) != "careful-v2" || now.GetTerminalCondition().GetState() != runpb.Condition_CONDITION_FAILED {
		t.Errorf("after the failure: %v", now)
	}

	now.Template = template("careful-v3")
	now = mustUpdate(t, c, now)
	if r := c.get(t, now.GetUri()); r.Revision != "careful-v3" {
		t.Errorf("after the repair %s answered", r.Revision)
	}
}

func TestStaleEtagIsRefused(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	s := create(t, c, "etag", &runpb.Service{Template: template("")})
	stale := proto.CloneOf(s)
	s.Labels = map[string]string{"team": "sre"}
	s = mustUpdate(t, c, s)
	if s.GetGeneration() != 2 || s.GetEtag() == stale.GetEtag() {
		t.Errorf("generation %d, etag %s after %s", s.GetGeneration(), s.GetEtag(), stale.GetEtag())
	}
	if _, err := update(t, c, stale); status.Code(err) != codes.Aborted {
		t.Errorf("an update with a stale etag ended with %v, want Aborted", err)
	}
	_, err := c.services.DeleteService(t.Context(), &runpb.DeleteServiceRequest{Name: s.GetName(), Etag: stale.GetEtag()})
	if status.Code(err) != codes.Aborted {
		t.Errorf("a deletion with a stale etag ended with %v, want Aborted", err)
	}
}

func last(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
