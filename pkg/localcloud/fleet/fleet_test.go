package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tftctl/tftctl/pkg/localcloud/fleet"
	"github.com/tftctl/tftctl/pkg/localcloud/fleet/fleettest"
)

// TestMain makes this binary the tests and the server that they start.
func TestMain(m *testing.M) {
	if fleettest.Asked() {
		os.Exit(fleettest.Main())
	}
	goleak.VerifyTestMain(m)
}

func newFleet(t *testing.T, o fleet.Options) *fleet.Fleet {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.Server, o.Env = self, []string{fleettest.Env, "TFT_BIND_HOST=127.0.0.1"}
	if o.Logs == "" {
		o.Logs = t.TempDir()
	}
	o.Log = slog.New(slog.DiscardHandler)
	f := fleet.New(o)
	t.Cleanup(f.Close)
	return f
}

func spec(name string, env ...string) fleet.Spec {
	return fleet.Spec{
		Name: name, Kind: "run",
		Env: func(port int) []string {
			return append([]string{"PORT=" + strconv.Itoa(port), "K_REVISION=" + name}, env...)
		},
		Start: fleet.Probe{Timeout: 10 * time.Second, Period: 10 * time.Second, Failures: 1},
	}
}

func start(t *testing.T, f *fleet.Fleet, s fleet.Spec) *fleet.Instance {
	t.Helper()
	i, err := f.Start(s)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// limited is a context that ends a test which waits for what does not come.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func address(t *testing.T, i *fleet.Instance) string {
	t.Helper()
	a, err := i.Address(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func get(t *testing.T, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(limited(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	return http.DefaultClient.Do(req)
}

func TestInstanceAnswersWhenReady(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleet.Options{})
	began := time.Now()
	i := start(t, f, spec("one"))
	a := address(t, i)
	t.Logf("ready after %s", time.Since(began))
	res, err := get(t, "http://"+a)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var r fleettest.Reply
	if err := json.NewDecoder(res.Body).Decode(&r); err != nil || r.Revision != "one" {
		t.Errorf("%+v answered, %v", r, err)
	}
	if d := i.Describe(); d.State != fleet.Ready || d.PID != r.PID || d.Address != a {
		t.Errorf("described as %+v, answered as %+v", d, r)
	}
}

func TestReservedPortIsNobodyElses(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleet.Options{})
	i := start(t, f, spec("deaf", fleettest.Deaf+"=1"))
	_, port, _ := net.SplitHostPort(i.Describe().Address)
	// Whoever asks for any free port, and binds as servers do, gets another one.
	for range 500 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, other, _ := net.SplitHostPort(l.Addr().String())
		l.Close()
		if other == port {
			t.Fatalf("port %s was given away", port)
		}
	}
}

func TestInstanceThatFailsToStartSaysWhy(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleet.Options{})
	i := start(t, f, spec("corrupt", fleettest.Fail+"=manifest.json: digest mismatch"))
	err := i.WaitReady(limited(t))
	if err == nil || !strings.Contains(err.Error(), "code 3") || !strings.Contains(err.Error(), "digest mismatch") {
		t.Errorf("got %v, want the exit code and the last line", err)
	}
}

func TestInstanceThatNeverListensRunsOutOfTime(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleet.Options{})
	s := spec("deaf", fleettest.Deaf+"=1")
	s.Start.Patience = 100 * time.Millisecond
	err := start(t, f, s).WaitReady(limited(t))
	if err == nil || !strings.Contains(err.Error(), "startup probe") {
		t.Errorf("got %v, want that the startup probe did not pass", err)
	}
}

func TestCrashedInstanceComesBackAtItsAddress(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleet.Options{})
	i := start(t, f, spec("crashing"))
	before := address(t, i)
	pid := i.Describe().PID
	if res, err := get(t, "http://"+before+"/crash"); err == nil {
		res.Body.Close()
		t.Fatal("a process that ended has answered")
	}
	var r fleettest.Reply
	for r.PID == 0 || r.PID == pid {
		res, err := get(t, "http://"+address(t, i))
		if err != nil {
			continue // it has not been noticed yet that it is gone
		}
		json.NewDecoder(res.Body).Decode(&r)
		res.Body.Close()
	}
	if d := i.Describe(); d.Restarts != 1 || d.Address != before {
		t.Errorf("%d restarts, at %s after %s", d.Restarts, d.Address, before)
	}
}

func TestRequestInFlightSurvivesTheStop(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleet.Options{})
	i := start(t, f, spec("draining"))
	res, err := get(t, "http://"+address(t, i)+"/slow")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	i.Terminate()
	body, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(body), "draining") {
		t.Errorf("the request ended with %q, %v", body, err)
	}
	<-i.Done()
}

func TestStubbornInstanceIsKilledAfterTheGrace(t *testing.T) {
	t.Parallel()
	const grace = 300 * time.Millisecond
	f := newFleet(t, fleet.Options{Grace: grace})
	i := start(t, f, spec("stubborn", fleettest.Stubborn+"=1"))
	address(t, i)
	pid := i.Describe().PID
	began := time.Now()
	i.Stop(limited(t))
	if took := time.Since(began); took < grace {
		t.Errorf("it was killed after %s, before the grace of %s", took, grace)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d: %v, want none", pid, err)
	}
}

func TestInstanceThatIsNeverHealthyFails(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleet.Options{})
	s := spec("unwell", "AIP_HEALTH_ROUTE=/health", fleettest.Unwell+"=1")
	s.Ready = &fleet.Probe{Path: "/health", Timeout: time.Second, Period: time.Second, Failures: 4, Patience: 200 * time.Millisecond}
	if err := start(t, f, s).WaitReady(limited(t)); err == nil || !strings.Contains(err.Error(), "readiness") {
		t.Errorf("got %v, want that the readiness probe did not pass", err)
	}
}

func TestUnhealthyInstanceLeavesTheRotationAndIsNotRestarted(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleet.Options{})
	s := spec("unwell", "AIP_HEALTH_ROUTE=/health")
	s.Ready = &fleet.Probe{Path: "/health", Timeout: time.Second, Period: 10 * time.Millisecond, Failures: 2}
	i := start(t, f, s)
	a := address(t, i)
	pid := i.Describe().PID
	tell := func(path string) {
		t.Helper()
		res, err := get(t, "http://"+a+path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	tell("/sicken")
	become(t, i, fleet.Unready)
	tell("/heal")
	become(t, i, fleet.Ready)
	if d := i.Describe(); d.PID != pid || d.Restarts != 0 {
		t.Errorf("it was restarted: %+v", d)
	}
}

func TestInstanceThatDoesNotLiveIsRestarted(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleet.Options{})
	s := spec("dying", "AIP_HEALTH_ROUTE=/health")
	s.Live = &fleet.Probe{Path: "/health", Timeout: time.Second, Period: 10 * time.Millisecond, Failures: 2}
	i := start(t, f, s)
	a := address(t, i)
	res, err := get(t, "http://"+a+"/sicken")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	become(t, i, fleet.Restarting)
	become(t, i, fleet.Ready)
}

// become waits until the instance is in the state.
func become(t *testing.T, i *fleet.Instance, want fleet.State) {
	t.Helper()
	ctx := limited(t)
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for i.Describe().State != want {
		select {
		case <-pace.C:
		case <-ctx.Done():
			t.Fatalf("it is %s, not %s", i.Describe().State, want)
		}
	}
}

func TestFleetHasAnEnd(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleet.Options{Most: 1})
	start(t, f, spec("one"))
	if _, err := f.Start(spec("two")); !errors.Is(err, fleet.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
}

func TestOutputIsKept(t *testing.T) {
	t.Parallel()
	logs := t.TempDir()
	f := newFleet(t, fleet.Options{Logs: logs})
	i := start(t, f, spec("run/us-central1/svc/svc-1", fleettest.Fail+"=a line to keep"))
	i.WaitReady(limited(t))
	<-i.Done()
	got, err := os.ReadFile(filepath.Join(logs, "run_us-central1_svc_svc-1.log"))
	if err != nil || string(got) != "a line to keep\n" {
		t.Errorf("the log holds %q, %v", got, err)
	}
}

// A pool must not stop an instance that is needed again, whatever was said before.
func TestNeededAgainIsKept(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleet.Options{})
	landed := make(chan struct{})
	p := fleet.NewPool(f, func(ctx context.Context, _ string) error {
		select {
		case <-landed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	defer p.Close()
	need := func() *fleet.Instance {
		t.Helper()
		i, err := p.Need("key", func() (fleet.Spec, error) { return spec("pooled"), nil })
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	first := need()
	for range 3 {
		p.Retire("key", time.Minute)
		if need() != first {
			t.Fatal("an instance that waited to be let go was not kept")
		}
	}
	address(t, first)
	p.Retire("key", time.Minute)
	close(landed)
	<-first.Done()
	if second := need(); second == first {
		t.Error("an instance that has stopped was handed out")
	}
}
