package localcloud_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"cloud.google.com/go/run/apiv2/runpb"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"

	"github.com/tftctl/tftctl/pkg/localcloud/fleet"
)

// startCloud starts a local cloud in a process of its own.
func startCloud(t *testing.T, dir string) (*cloud, *exec.Cmd) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), platformDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the cloud in a process of its own did not get ready: %v", err)
	}
	control, front, _ := strings.Cut(strings.TrimSpace(line), " ")
	c := connect(t, control, front)
	t.Cleanup(c.close)
	return c, cmd
}

func instances(t *testing.T, c *cloud) []fleet.Description {
	t.Helper()
	res, err := http.Get("http://" + c.control + "/_local/status")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var s struct {
		Instances []fleet.Description `json:"instances"`
	}
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return s.Instances
}

// gone waits until there is no process of that id, or only one that waits to be
// reaped by whoever adopted it.
func gone(t *testing.T, pid int) {
	t.Helper()
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	late := time.NewTimer(5 * time.Second)
	defer late.Stop()
	for {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return
		}
		if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil && strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-pace.C:
		case <-late.C:
			t.Fatalf("process %d is still there", pid)
		}
	}
}

func TestKilledCloudComesBackAndServes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, process := startCloud(t, dir)
	s := create(t, c, "forecaster", &runpb.Service{Template: template("forecaster-v1"), Traffic: []*runpb.TrafficTarget{pin("forecaster-v1", 100, "")}})
	s.Template = template("forecaster-v2")
	s.Traffic = []*runpb.TrafficTarget{pin("forecaster-v1", 50, ""), pin("forecaster-v2", 50, "next")}
	s = mustUpdate(t, c, s)
	uploadTwo(t, c)
	e := newEndpoint(t, c, "forecasts")
	one := mustDeploy(t, c, e, model+"@1", map[string]int32{"0": 100})
	addSecret(t, c, "key", "value")
	for range 10 {
		c.get(t, s.GetUri())
	}

	// Whatever happens in the middle of a deployment must be finished later. The
	// new revision never listens, so its operation is unfinished for certain.
	stuck := &runpb.Service{Name: s.GetName(), Template: template("forecaster-v3", "CHILD_DEAF=1"), Traffic: s.GetTraffic()}
	op, err := c.services.UpdateService(t.Context(), &runpb.UpdateServiceRequest{Service: stuck})
	if err != nil {
		t.Fatal(err)
	}
	if op.Done() {
		t.Fatal("a revision that never listens is done")
	}
	before := instances(t, c)
	if len(before) != 4 {
		t.Errorf("%d instances before the kill, want 4: %v", len(before), before)
	}
	if err := process.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	process.Wait()
	for _, i := range before {
		gone(t, i.PID)
	}

	began := time.Now()
	c, _ = startCloud(t, dir)
	t.Logf("back after %s", time.Since(began))
	got, err := c.services.GetService(t.Context(), &runpb.GetServiceRequest{Name: s.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for range 20 {
		seen[c.get(t, got.GetUri()).Revision]++
	}
	if seen["forecaster-v1"] != 10 || seen["forecaster-v2"] != 10 {
		t.Errorf("of 20 requests %v", seen)
	}
	if r := c.get(t, got.GetTrafficStatuses()[1].GetUri()); r.Revision != "forecaster-v2" {
		t.Errorf("the tag was answered by %+v", r)
	}
	if res, err := ask(t, c, e); err != nil || res.GetDeployedModelId() != one.GetId() {
		t.Errorf("the endpoint answered %v, %v", res, err)
	}
	if _, err := c.secrets.GetSecret(t.Context(), &secretmanagerpb.GetSecretRequest{Name: "projects/demo/secrets/key"}); err != nil {
		t.Error(err)
	}
	var counts struct{ Total, Failed int }
	c.fetch(t, "http://"+c.control+"/_local/requests", &counts)
	if counts.Total != 32 || counts.Failed != 0 {
		t.Errorf("the front counts %+v over both lives, want 32 requests, none failed", counts)
	}

	// The operation that the kill cut off goes on under its name; a later change
	// supersedes it.
	resumed := c.services.UpdateServiceOperation(op.Name())
	if _, err := resumed.Poll(t.Context()); err != nil || resumed.Done() {
		t.Errorf("the operation is done=%v, %v; want it unfinished", resumed.Done(), err)
	}
	got.Template = template("forecaster-v4")
	got.Traffic = []*runpb.TrafficTarget{pin("forecaster-v4", 100, "")}
	got.Etag = ""
	got = mustUpdate(t, c, got)
	if r := c.get(t, got.GetUri()); r.Revision != "forecaster-v4" {
		t.Errorf("%+v answered", r)
	}
	if _, err := resumed.Poll(t.Context()); !resumed.Done() || err == nil {
		t.Errorf("the superseded operation is done=%v, %v; want an error", resumed.Done(), err)
	}
	if _, err := c.endpoints.GetEndpoint(t.Context(), &aiplatformpb.GetEndpointRequest{Name: e}); err != nil {
		t.Error(err)
	}
}

func addSecret(t *testing.T, c *cloud, id, value string) {
	t.Helper()
	secret, err := c.secrets.CreateSecret(t.Context(), &secretmanagerpb.CreateSecretRequest{
		Parent: "projects/demo", SecretId: id, Secret: &secretmanagerpb.Secret{Replication: &secretmanagerpb.Replication{
			Replication: &secretmanagerpb.Replication_Automatic_{Automatic: &secretmanagerpb.Replication_Automatic{}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.secrets.AddSecretVersion(t.Context(), &secretmanagerpb.AddSecretVersionRequest{
		Parent: secret.GetName(), Payload: &secretmanagerpb.SecretPayload{Data: []byte(value)},
	}); err != nil {
		t.Fatal(err)
	}
}
