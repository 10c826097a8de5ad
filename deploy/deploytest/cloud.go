package deploytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
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

// Plays reports whether this process is to play a server.
func Plays() bool { return os.Getenv(playServer) != "" }

// Main runs the tests, or plays a server where the local cloud started this
// binary as one. A package that uses Cloud calls it from TestMain.
func Main(m *testing.M) int {
	if !Plays() {
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

// What a played server does that finds one of these in its model's file.
const (
	Exits   = "exits"   // it ends before it is ready
	Refuses = "refuses" // it is ready and answers no prediction
)

// serve keeps the container contract and answers every prediction, unless its
// model says otherwise.
func serve(ctx context.Context) error {
	text, err := modelText(ctx)
	if err != nil {
		return err
	}
	if strings.Contains(text, Exits) {
		return errors.New("the model cannot be loaded")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/health/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("POST /predict", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Tft-Release", os.Getenv("TFT_RELEASE"))
		if strings.Contains(text, Refuses) {
			http.Error(w, `{"error":"the model computes nothing"}`, http.StatusInternalServerError)
			return
		}
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

// modelText returns what stands in the file of the model that the server was
// started with, "" where it has none.
func modelText(ctx context.Context) (string, error) {
	source := os.Getenv("TFT_MODEL")
	if source == "" {
		source = os.Getenv("AIP_STORAGE_URI")
	}
	bucket, prefix, found := strings.Cut(strings.TrimPrefix(source, "gs://"), "/")
	if !found {
		return "", nil
	}
	address := "http://" + os.Getenv("STORAGE_EMULATOR_HOST") + "/storage/v1/b/" + bucket + "/o/" + url.PathEscape(prefix+"/model.onnx") + "?alt=media"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return "", nil
	}
	content, err := io.ReadAll(resp.Body)
	return string(content), err
}

// Start starts a local cloud with its state in dir, whose images are all played
// by this test binary. It returns the address of its APIs and what stops it.
func Start(dir string) (address string, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	platform, err := localcloud.Open(ctx, localcloud.Options{Dir: dir, Server: self, ServerEnv: []string{playServer + "=1"}})
	if err != nil {
		cancel()
		return "", nil, err
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		return "", nil, errors.Join(err, platform.Close())
	}
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		return "", nil, errors.Join(err, control.Close(), platform.Close())
	}
	served := make(chan error, 1)
	go func() { served <- platform.Serve(ctx, control, front) }()
	select {
	case err := <-served:
		cancel()
		return "", nil, fmt.Errorf("the local cloud did not start: %w", err)
	case <-platform.Ready():
	}
	return control.Addr().String(), func() error { cancel(); return <-served }, nil
}

// Cloud starts a local cloud for the length of the test. It returns where it is
// and the gs:// address of a bundle.
func Cloud(t *testing.T) (place gcp.Endpoint, source string) {
	t.Helper()
	address, stop, err := Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("the local cloud ended: %v", err)
		}
	})
	place = gcp.Endpoint{Address: address, Project: "local-dev", Region: "us-central1"}
	return place, bundle(t, place)
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
