package serve_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/serve"
	"github.com/tftctl/tftctl/serve/drain"
	"github.com/tftctl/tftctl/serve/predict"
	"github.com/tftctl/tftctl/serve/predict/predicttest"
	"github.com/tftctl/tftctl/serve/reply"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// finder finds one model, once there is one.
type finder struct {
	mu    sync.Mutex
	model *predict.Model
}

func (f *finder) Find(string, string) (*predict.Model, func(), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.model == nil {
		return nil, nil, fault.Newf(fault.Unavailable, "no model is loaded yet")
	}
	return f.model, func() {}, nil
}

func (f *finder) enter(p predict.Predictor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.model = &predict.Model{Name: "sums", Digest: model.DigestOf([]byte("x")), Schema: predicttest.Schema(), Predictor: p}
}

// acts is a Predictor in a function.
type acts func(ctx context.Context) error

func (a acts) Predict(ctx context.Context, _ predict.Source, _ predict.Sink) error { return a(ctx) }

// server is a running one, with what it logged.
type server struct {
	url    string
	models *finder
	stop   context.CancelFunc
	ended  chan error
	client *http.Client

	mu  sync.Mutex
	log bytes.Buffer
}

func (s *server) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

// lines returns what was logged about requests.
func (s *server) lines(t *testing.T) []map[string]any {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []map[string]any
	for line := range strings.Lines(s.log.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("a line of the log is not JSON: %s", line)
		}
		if entry["message"] == "request" {
			out = append(out, entry)
		}
	}
	return out
}

// start serves with config on a free port; p is the model, nil for none yet.
func start(t *testing.T, c serve.Config, p predict.Predictor) *server {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.PredictRoutes = append(c.PredictRoutes, serve.PredictRoute)
	c.HealthRoutes = append(c.HealthRoutes, serve.ReadyRoute)
	if c.Drain == (drain.Options{}) {
		c.Drain = drain.Options{Quiet: time.Millisecond}
	}
	s := &server{url: "http://" + l.Addr().String(), models: &finder{}, ended: make(chan error, 1), client: &http.Client{Transport: &http.Transport{}}}
	if p != nil {
		s.models.enter(p)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	server := serve.New(c, s.models, serve.NewLog(s, slog.LevelDebug))
	go func() { s.ended <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		stop()
		<-s.ended
	})
	return s
}

// get asks a path and returns the status and the body.
func (s *server) get(t *testing.T, path string) (int, string) {
	t.Helper()
	r := s.do(t, http.MethodGet, path, nil, nil)
	return r.StatusCode, r.body
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

func (a answer) problem(t *testing.T) reply.Details {
	t.Helper()
	var p reply.Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("status %d with a body that is no problem: %q", a.StatusCode, a.body)
	}
	return p.Error
}

func (s *server) do(t *testing.T, method, path string, header map[string]string, body io.Reader) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	got, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{got, string(text)}
}

var asJSON = map[string]string{"Content-Type": "application/json"}

// A redirect would lead past the prefix that a proxy in front has taken away.
func TestNoPathIsRedirected(t *testing.T) {
	s := start(t, serve.Config{}, nil)
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, path := range []string{"//predict", "/predict/", "/./predict", "/x/../predict", "/%2fpredict", "//", "/predict//", "//predict?a=b"} {
		got := s.do(t, http.MethodPost, path, asJSON, strings.NewReader(`{"instances":[]}`))
		if got.StatusCode != http.StatusNotFound || got.problem(t).Kind != "NotFound" || got.Header.Get("Location") != "" {
			t.Errorf("POST %s: %d to %q, want 404", path, got.StatusCode, got.Header.Get("Location"))
		}
	}
}

func TestProbesAreThreeQuestions(t *testing.T) {
	began := make(chan struct{})
	release := make(chan struct{})
	s := start(t, serve.Config{HealthRoutes: []string{"/vertex/health"}, Drain: drain.Options{Quiet: 500 * time.Millisecond}}, nil)
	check := func(when string, startup, live, ready int) {
		t.Helper()
		for path, want := range map[string]int{serve.StartupRoute: startup, serve.LiveRoute: live, serve.ReadyRoute: ready, "/vertex/health": ready} {
			if got, body := s.get(t, path); got != want {
				t.Errorf("%s: %s answers %d, want %d: %s", when, path, got, want, body)
			}
		}
	}
	check("before there is a model", 503, 200, 503)
	s.models.enter(acts(func(context.Context) error {
		close(began)
		<-release
		return errors.New("done")
	}))
	check("with a model", 200, 200, 200)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		s.do(t, http.MethodPost, serve.PredictRoute, asJSON, strings.NewReader("{}"))
	}()
	<-began
	s.stop()
	for status := 200; status == 200; { // until the signal has arrived
		status, _ = s.get(t, serve.ReadyRoute)
	}
	check("while leaving", 200, 200, 503)
	close(release)
	<-asked
}

func TestRequestsThatHoldNoPredictionAreRefusedByTheirHeaders(t *testing.T) {
	s := start(t, serve.Config{MaxBody: 100, Release: "v1-3f9a1c2b", PredictRoutes: []string{"/v1/endpoints/1/deployedModels/2:predict", "/"}},
		acts(func(context.Context) error {
			t.Error("the model was asked")
			return nil
		}))
	long := strings.Repeat(" ", 101)
	for name, c := range map[string]struct {
		method, path string
		header       map[string]string
		body         io.Reader
		status       int
	}{
		"GET":                       {method: http.MethodGet, path: "/predict", status: 405},
		"PUT":                       {method: http.MethodPut, path: "/predict", header: asJSON, status: 405},
		"GET of a colon's route":    {method: http.MethodGet, path: "/v1/endpoints/1/deployedModels/2:predict", status: 405},
		"GET of the root's route":   {method: http.MethodGet, path: "/", status: 405},
		"no content type":           {method: http.MethodPost, path: "/predict", body: strings.NewReader("{}"), status: 415},
		"text":                      {method: http.MethodPost, path: "/predict", header: map[string]string{"Content-Type": "text/plain"}, body: strings.NewReader("{}"), status: 415},
		"compressed":                {method: http.MethodPost, path: "/predict", header: map[string]string{"Content-Type": "application/json", "Content-Encoding": "gzip"}, body: strings.NewReader("{}"), status: 415},
		"too long":                  {method: http.MethodPost, path: "/predict", header: asJSON, body: strings.NewReader(long), status: 413},
		"too long without a length": {method: http.MethodPost, path: "/predict", header: asJSON, body: io.MultiReader(strings.NewReader(long)), status: 413},
		"unknown path":              {method: http.MethodPost, path: "/predictions", header: asJSON, body: strings.NewReader("{}"), status: 404},
		"POST of a probe":           {method: http.MethodPost, path: serve.ReadyRoute, status: 405},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.do(t, c.method, c.path, c.header, c.body)
			if got.StatusCode != c.status || got.problem(t).Code != c.status || got.problem(t).Message == "" {
				t.Errorf("status %d, %s; want %d", got.StatusCode, got.body, c.status)
			}
			if (got.StatusCode == 405) != (got.Header.Get("Allow") != "") {
				t.Errorf("Allow is %q", got.Header.Get("Allow"))
			}
			if predicting := c.status == 415 || c.status == 413; predicting &&
				(got.Header.Get(serve.ReleaseHeader) != "v1-3f9a1c2b" || got.Header.Get("X-Tft-Model") != "sums@sha256:2d711642b726") {
				t.Errorf("the answer does not name release and model: %v", got.Header)
			}
		})
	}
}

func TestErrorsOfTheModelShowNothingButTheirId(t *testing.T) {
	s := start(t, serve.Config{}, acts(func(context.Context) error { return errors.New("secret at /etc/x") }))
	got := s.do(t, http.MethodPost, "/predict", asJSON, strings.NewReader("{}"))
	if got.StatusCode != 500 || strings.Contains(got.body, "secret") {
		t.Errorf("status %d: %s", got.StatusCode, got.body)
	}
	lines := s.lines(t)
	if len(lines) != 1 || lines[0]["severity"] != "ERROR" || lines[0]["error"] != "secret at /etc/x" || lines[0]["request_id"] != got.Header.Get("X-Request-Id") {
		t.Errorf("the log says %v", lines)
	}
}

func TestPanicIsAnsweredAndTheServerLivesOn(t *testing.T) {
	s := start(t, serve.Config{}, acts(func(context.Context) error { panic("oh no") }))
	for range 2 {
		if got := s.do(t, http.MethodPost, "/predict", asJSON, strings.NewReader("{}")); got.StatusCode != 500 || strings.Contains(got.body, "oh no") {
			t.Errorf("status %d: %s", got.StatusCode, got.body)
		}
	}
	if lines := s.lines(t); len(lines) != 2 || !strings.Contains(lines[0]["error"].(string), "serve_test.go") {
		t.Errorf("the log has no stack: %v", lines)
	}
}

func TestFullServerSaysSoAtOnce(t *testing.T) {
	release := make(chan struct{})
	began := make(chan struct{}, 8)
	s := start(t, serve.Config{Running: 1, Waiting: 1}, acts(func(context.Context) error {
		began <- struct{}{}
		<-release
		return errors.New("done")
	}))
	statuses := make(chan int, 3)
	for range 3 { // one runs, one waits, one is told
		go func() { statuses <- s.do(t, http.MethodPost, "/predict", asJSON, strings.NewReader("{}")).StatusCode }()
	}
	<-began
	if got := <-statuses; got != http.StatusTooManyRequests {
		t.Errorf("the first answer is %d, want 429", got)
	}
	if got, _ := s.get(t, serve.LiveRoute); got != 200 {
		t.Errorf("live answers %d while the server is full, want 200", got)
	}
	close(release)
	for range 2 {
		if got := <-statuses; got != http.StatusInternalServerError {
			t.Errorf("status %d, want the model's own error", got)
		}
	}
}

func TestAnswerThatTakesTooLongIsATimeout(t *testing.T) {
	s := start(t, serve.Config{Answer: 10 * time.Millisecond}, acts(func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}))
	if got := s.do(t, http.MethodPost, "/predict", asJSON, strings.NewReader("{}")); got.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("status %d, want 504: %s", got.StatusCode, got.body)
	}
}

func TestEachRequestHasOneLine(t *testing.T) {
	s := start(t, serve.Config{Release: "v1-3f9a1c2b"}, acts(func(context.Context) error { return fault.Newf(fault.Invalid, "instances: bad") }))
	s.do(t, http.MethodPost, "/predict", map[string]string{"Content-Type": "application/json", "X-Request-Id": "mine-1"}, strings.NewReader("{}"))
	s.do(t, http.MethodPost, "/predict", map[string]string{"Content-Type": "application/json", "X-Request-Id": "<script>"}, strings.NewReader("{}"))
	s.get(t, serve.LiveRoute)
	lines := s.lines(t)
	if len(lines) != 3 {
		t.Fatalf("%d lines for 3 requests: %v", len(lines), lines)
	}
	for key, want := range map[string]any{
		"severity": "INFO", "method": "POST", "path": "/predict", "status": 400.0, "request_bytes": 2.0,
		"request_id": "mine-1", "release": "v1-3f9a1c2b", "error": "instances: bad",
	} {
		if lines[0][key] != want {
			t.Errorf("%s is %v, want %v", key, lines[0][key], want)
		}
	}
	if lines[0]["time"] == nil || lines[0]["duration_ms"] == nil || lines[0]["response_bytes"].(float64) == 0 {
		t.Errorf("time, duration or bytes are missing: %v", lines[0])
	}
	if id := lines[1]["request_id"].(string); id == "" || strings.Contains(id, "<") {
		t.Errorf("an id that does not belong in a log was kept: %q", id)
	}
	if lines[2]["severity"] != "DEBUG" {
		t.Errorf("a probe that went well is logged as %v", lines[2]["severity"])
	}
}
