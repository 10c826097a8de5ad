package deploytest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/tftctl/tftctl/pkg/gcp"
	"github.com/tftctl/tftctl/pkg/gcs"
	"github.com/tftctl/tftctl/pkg/localcloud"
)

// playServer is the variable that makes a test binary play the server of an
// image instead of running its tests.
const playServer = "TFTCTL_TEST_PLAYS_SERVER"

// Main runs the tests, or plays a server where the local cloud started this
// binary as one. A package that uses Cloud calls it from TestMain.
func Main(m *testing.M) int {
	if os.Getenv(playServer) == "" {
		return m.Run()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// serve keeps the container contract and answers every prediction.
func serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/health/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("POST /predict", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Tft-Release", os.Getenv("TFT_RELEASE"))
		fmt.Fprint(w, `{"predictions":[{"y":[1]}]}`)
	})
	port := os.Getenv("AIP_HTTP_PORT")
	if port == "" {
		port = os.Getenv("PORT")
	}
	l, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("TFT_BIND_HOST"), port))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux}
	defer context.AfterFunc(ctx, func() { server.Shutdown(context.Background()) })()
	if err := server.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// Cloud starts a local cloud for the length of the test, whose images are all
// played by this test binary. It returns where it is and the gs:// address of
// a bundle.
func Cloud(t *testing.T) (place gcp.Endpoint, source string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	platform, err := localcloud.Open(ctx, localcloud.Options{Dir: t.TempDir(), Server: self, ServerEnv: []string{playServer + "=1"}})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	control, front := listen(t), listen(t)
	served := make(chan error, 1)
	go func() { served <- platform.Serve(ctx, control, front) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("the local cloud ended: %v", err)
		}
	})
	select {
	case err := <-served:
		served <- err
		t.Fatalf("the local cloud did not start: %v", err)
	case <-platform.Ready():
	}
	place = gcp.Endpoint{Address: control.Addr().String(), Project: "local-dev", Region: "us-central1"}
	return place, bundle(t, place)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// bundle puts a folder with one file into a bucket, which is all that Vertex
// AI asks of an artifact.
func bundle(t *testing.T, place gcp.Endpoint) string {
	t.Helper()
	bucket := gcs.Open(place, "models-of-the-test")
	if err := bucket.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal("a bundle")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Put(t.Context(), "content/manifest.json", bytes.TrimSpace(content), 0); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(bucket.String(), "/") + "/content"
}
