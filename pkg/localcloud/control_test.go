package localcloud_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/tftctl/tftctl/pkg/localcloud"
)

func TestWhatIsNotServedSaysSoAndNamesItself(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	err := c.conn.Invoke(t.Context(), "/google.cloud.run.v2.Jobs/ListJobs", &emptypb.Empty{}, &emptypb.Empty{})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "google.cloud.run.v2.Jobs/ListJobs") {
		t.Errorf("an unknown method answered %v", err)
	}
	for path, want := range map[string]struct {
		code int
		text string
	}{
		"/v2/projects/demo/locations/us-central1/services": {http.StatusNotImplemented, "GET /v2/projects/demo/locations/us-central1/services"},
		"/v1/projects/demo/secrets":                        {http.StatusNotImplemented, "gRPC"},
		"/_local/faults":                                   {http.StatusNotFound, "/_local/status"},
		"/":                                                {http.StatusNotFound, "nothing answers"},
	} {
		res, err := c.http.Get("http://" + c.control + path)
		if err != nil {
			t.Fatal(err)
		}
		var body struct {
			Error struct {
				Code    int
				Message string
			}
		}
		err = json.NewDecoder(res.Body).Decode(&body)
		res.Body.Close()
		if err != nil || res.StatusCode != want.code || body.Error.Code != want.code || !strings.Contains(body.Error.Message, want.text) {
			t.Errorf("GET %s: %d %q, %v; want %d with %q", path, res.StatusCode, body.Error.Message, err, want.code, want.text)
		}
	}
}

func TestFolderHasOneCloud(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := open(t, dir)
	if _, err := localcloud.Open(t.Context(), options(dir)); !errors.Is(err, localcloud.ErrInUse) {
		t.Errorf("a second cloud over the folder: %v, want ErrInUse", err)
	}
	c.stop()
	again, err := localcloud.Open(t.Context(), options(dir))
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	again.Close()
}

func TestStopIsCleanAndEverythingIsThereAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := open(t, dir)
	s := create(t, c, "forecaster", &runpb.Service{Template: template("forecaster-v1")})
	pid := c.get(t, s.GetUri()).PID
	c.stop()
	gone(t, pid)

	c = open(t, dir)
	again, err := c.services.GetService(t.Context(), &runpb.GetServiceRequest{Name: s.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	if again.GetEtag() != s.GetEtag() || again.GetUid() != s.GetUid() || again.GetGeneration() != s.GetGeneration() {
		t.Errorf("it was %v and is %v", s, again)
	}
	if r := c.get(t, again.GetUri()); r.Revision != "forecaster-v1" {
		t.Errorf("%+v answered", r)
	}
}

func TestRevisionsAreKeptAndDeletedByTheRules(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	s := create(t, c, "svc", &runpb.Service{Template: template("svc-v1")})
	s.Template = template("svc-v2")
	s = mustUpdate(t, c, s)

	s.Template = template("svc-v2", "CHILD_GREETING=changed")
	if _, err := update(t, c, s); status.Code(err) != codes.AlreadyExists {
		t.Errorf("another template under a revision's name ended with %v, want AlreadyExists", err)
	}
	var names []string
	for it := c.revisions.ListRevisions(t.Context(), &runpb.ListRevisionsRequest{Parent: region + "/services/-"}); ; {
		r, err := it.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, last(r.GetName()))
	}
	if len(names) != 2 || names[0] != "svc-v2" || names[1] != "svc-v1" {
		t.Errorf("revisions %v, want the newest first", names)
	}
	remove := func(name string) error {
		op, err := c.revisions.DeleteRevision(t.Context(), &runpb.DeleteRevisionRequest{Name: s.GetName() + "/revisions/" + name})
		if err != nil {
			return err
		}
		_, err = op.Wait(t.Context())
		return err
	}
	if err := remove("svc-v2"); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("deleting the latest revision ended with %v", err)
	}
	if err := remove("svc-v1"); err != nil {
		t.Errorf("deleting a revision without traffic: %v", err)
	}
	if err := remove("svc-v1"); status.Code(err) != codes.NotFound {
		t.Errorf("deleting it again ended with %v", err)
	}
}

func TestValidateOnlyChangesNothing(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	op, err := c.services.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: region, ServiceId: "svc", Service: &runpb.Service{Template: template("")}, ValidateOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := op.Wait(t.Context())
	if err != nil || s.GetTemplate().GetMaxInstanceRequestConcurrency() != 80 {
		t.Errorf("validated as %v, %v", s, err)
	}
	if _, err := c.services.GetService(t.Context(), &runpb.GetServiceRequest{Name: region + "/services/svc"}); status.Code(err) != codes.NotFound {
		t.Errorf("it was made all the same: %v", err)
	}
	_, err = c.services.CreateService(t.Context(), &runpb.CreateServiceRequest{
		Parent: region, ServiceId: "svc", Service: &runpb.Service{Template: template(""), Traffic: []*runpb.TrafficTarget{pin("svc-none", 100, "")}}, ValidateOnly: true,
	})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("traffic to an unknown revision ended with %v", err)
	}
}

func TestServiceIsDeletedAndMadeAgain(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	s := create(t, c, "svc", &runpb.Service{Template: template("svc-v1", "CHILD_GREETING=first")})
	if _, err := c.services.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: region, ServiceId: "svc", Service: &runpb.Service{Template: template("")}}); status.Code(err) != codes.AlreadyExists {
		t.Errorf("making it twice ended with %v", err)
	}
	// The same id in another project is another service with another address.
	op, err := c.services.CreateService(t.Context(), &runpb.CreateServiceRequest{
		Parent: "projects/other/locations/us-central1", ServiceId: "svc", Service: &runpb.Service{Template: template("", "CHILD_GREETING=other")},
	})
	if err != nil {
		t.Fatal(err)
	}
	other, err := op.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	del, err := c.services.DeleteService(t.Context(), &runpb.DeleteServiceRequest{Name: s.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	if gone, err := del.Wait(t.Context()); err != nil || gone.GetDeleteTime() == nil {
		t.Errorf("deleted as %v, %v", gone, err)
	}
	if code := c.fetch(t, s.GetUri(), nil); code != http.StatusNotFound {
		t.Errorf("a deleted service answers %d", code)
	}
	if r := c.get(t, other.GetUri()); r.Greeting != "other" {
		t.Errorf("the other project's service is answered by %+v", r)
	}
	s = create(t, c, "svc", &runpb.Service{Template: template("svc-v1", "CHILD_GREETING=second")})
	if r := c.get(t, s.GetUri()); r.Greeting != "second" {
		t.Errorf("the new service is answered by %+v", r)
	}
}

func TestPolicyIsKept(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	s := create(t, c, "svc", &runpb.Service{Template: template("")})
	p, err := c.services.GetIamPolicy(t.Context(), &iampb.GetIamPolicyRequest{Resource: s.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	stale := p.GetEtag()
	p.Bindings = []*iampb.Binding{{Role: "roles/run.invoker", Members: []string{"allUsers"}}}
	if p, err = c.services.SetIamPolicy(t.Context(), &iampb.SetIamPolicyRequest{Resource: s.GetName(), Policy: p}); err != nil {
		t.Fatal(err)
	}
	got, err := c.services.GetIamPolicy(t.Context(), &iampb.GetIamPolicyRequest{Resource: s.GetName()})
	if err != nil || string(got.GetEtag()) != string(p.GetEtag()) || len(got.GetBindings()) != 1 {
		t.Errorf("read back %v, %v; want %v", got, err, p)
	}
	p.Etag = stale
	if _, err := c.services.SetIamPolicy(t.Context(), &iampb.SetIamPolicyRequest{Resource: s.GetName(), Policy: p}); status.Code(err) != codes.Aborted {
		t.Errorf("a stale policy ended with %v, want Aborted", err)
	}
}

func TestOperationsAreReadThroughTheServicesClient(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	op, err := c.services.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: region, ServiceId: "svc", Service: &runpb.Service{Template: template("")}})
	if err != nil {
		t.Fatal(err)
	}
	if !op.Done() {
		t.Error("an operation of a quick instance is not done in the first reply")
	}
	got, err := c.services.GetOperation(t.Context(), &longrunningpb.GetOperationRequest{Name: op.Name()})
	if err != nil || !got.GetDone() || !strings.HasPrefix(got.GetName(), region+"/operations/") {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err = c.services.WaitOperation(t.Context(), &longrunningpb.WaitOperationRequest{Name: op.Name()}); err != nil || !got.GetDone() {
		t.Errorf("waited for %v, %v", got, err)
	}
	if _, err := c.services.GetOperation(t.Context(), &longrunningpb.GetOperationRequest{Name: region + "/operations/none"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown operation is %v", err)
	}
}

func TestSecretIsResolvedWhenTheInstanceStarts(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	addSecret(t, c, "greeting", "from the safe")
	tmpl := template("svc-v1")
	tmpl.Containers[0].Env = []*runpb.EnvVar{{Name: "CHILD_GREETING", Values: &runpb.EnvVar_ValueSource{
		ValueSource: &runpb.EnvVarSource{SecretKeyRef: &runpb.SecretKeySelector{Secret: "greeting", Version: "1"}},
	}}}
	s := create(t, c, "svc", &runpb.Service{Template: tmpl})
	if r := c.get(t, s.GetUri()); r.Greeting != "from the safe" {
		t.Errorf("%+v answered", r)
	}
	s.Template.Revision = "svc-v2"
	s.Template.Containers[0].Env[0].GetValueSource().SecretKeyRef.Version = "7"
	if _, err := update(t, c, s); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "secret") {
		t.Errorf("a secret's version that is not there ended with %v", err)
	}
	logs, err := os.ReadDir(c.dir + "/logs")
	if err != nil || len(logs) != 1 {
		t.Errorf("logs %v, %v; want one instance's", logs, err)
	}
}
