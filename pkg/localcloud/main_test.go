package localcloud_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	aiplatform "cloud.google.com/go/aiplatform/apiv1"
	run "cloud.google.com/go/run/apiv2"
	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"go.uber.org/goleak"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tftctl/tftctl/pkg/localcloud"
	"github.com/tftctl/tftctl/pkg/localcloud/fleet/fleettest"
)

// TestMain makes this binary three programs: the tests, the server that the
// tests' clouds start, and a local cloud that a test can kill.
func TestMain(m *testing.M) {
	switch {
	case fleettest.Asked():
		os.Exit(fleettest.Main())
	case os.Getenv(platformDir) != "":
		os.Exit(servePlatform())
	}
	goleak.VerifyTestMain(m)
}

// platformDir names the folder of the cloud that the process is to be.
const platformDir = "LOCALCLOUD_TEST_DIR"

// servePlatform is a local cloud in a process of its own. It prints its two
// addresses once it is ready.
func servePlatform() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	p, err := localcloud.Open(ctx, options(os.Getenv(platformDir)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	control, front := listen(), listen()
	go func() {
		<-p.Ready()
		fmt.Fprintln(os.Stdout, control.Addr(), front.Addr())
	}()
	if err := p.Serve(ctx, control, front); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func listen() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	return l
}

func options(dir string) localcloud.Options {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return localcloud.Options{Dir: dir, Server: self, ServerEnv: []string{fleettest.Env}, Grace: 2 * time.Second, Project: "demo"}
}

// cloud is a local cloud with a client of each kind.
type cloud struct {
	dir            string
	control, front string
	stop           func()

	services  *run.ServicesClient
	revisions *run.RevisionsClient
	models    *aiplatform.ModelClient
	endpoints *aiplatform.EndpointClient
	predict   *aiplatform.PredictionClient
	secrets   *secretmanager.Client
	http      *http.Client
	conn      *grpc.ClientConn // for what the clients above have no method for
}

// open starts a cloud over dir in this process and stops it with the test, or
// before by stop.
func open(t *testing.T, dir string) *cloud {
	t.Helper()
	p, err := localcloud.Open(t.Context(), options(dir))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	control, front := listen(), listen()
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(ctx, control, front) }()
	select {
	case <-p.Ready():
	case err := <-ended:
		t.Fatal(err)
	}
	c := connect(t, control.Addr().String(), front.Addr().String())
	c.dir = dir
	stopped := false
	c.stop = func() {
		if stopped {
			return
		}
		stopped = true
		c.close()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	}
	t.Cleanup(c.stop)
	return c
}

// connect makes the clients of a cloud that answers already.
func connect(t *testing.T, control, front string) *cloud {
	t.Helper()
	c := &cloud{control: control, front: front, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	o := []option.ClientOption{
		option.WithEndpoint(control), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		option.WithTelemetryDisabled(),
	}
	var err error
	must := func(e error) {
		t.Helper()
		if e != nil {
			t.Fatal(e)
		}
	}
	c.services, err = run.NewServicesClient(t.Context(), o...)
	must(err)
	c.revisions, err = run.NewRevisionsClient(t.Context(), o...)
	must(err)
	c.models, err = aiplatform.NewModelClient(t.Context(), o...)
	must(err)
	c.endpoints, err = aiplatform.NewEndpointClient(t.Context(), o...)
	must(err)
	c.predict, err = aiplatform.NewPredictionClient(t.Context(), o...)
	must(err)
	c.secrets, err = secretmanager.NewClient(t.Context(), o...)
	must(err)
	c.conn, err = grpc.NewClient(control, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	return c
}

func (c *cloud) close() {
	for _, client := range []interface{ Close() error }{c.services, c.revisions, c.models, c.endpoints, c.predict, c.secrets, c.conn} {
		client.Close()
	}
	c.http.CloseIdleConnections()
}

// get asks an address of the front and returns what the server behind it said.
func (c *cloud) get(t *testing.T, url string) fleettest.Reply {
	t.Helper()
	var r fleettest.Reply
	if code := c.fetch(t, url, &r); code != http.StatusOK {
		t.Fatalf("GET %s: status %d", url, code)
	}
	return r
}

func (c *cloud) fetch(t *testing.T, url string, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(into); err != nil {
			t.Fatalf("GET %s: %v", url, err)
		}
	}
	return res.StatusCode
}
