package front_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/tftctl/tftctl/pkg/localcloud/front"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// at is a backend that is always ready.
type at string

func (a at) Address(context.Context) (string, error) { return string(a), nil }

func newFront(t *testing.T) *front.Front {
	t.Helper()
	l, err := front.OpenLog(filepath.Join(t.TempDir(), "front.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	f := front.New(l, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		f.Close()
		l.Close()
	})
	return f
}

// backend is a server that answers with its name and the path it was asked for.
func backend(t *testing.T, name string) at {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", name, r.URL.RequestURI(), body)
	}))
	t.Cleanup(s.Close)
	return at(s.Listener.Addr().String())
}

func ask(t *testing.T, f *front.Front, r *http.Request) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestRequestsFollowHostOrPath(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	a, b := backend(t, "a"), backend(t, "b")
	f.Set("one", front.Route{Key: "run/us/one", Hosts: []string{"one.local"}, Targets: []front.Target{{Name: "a", Percent: 100, Backend: a}}})
	f.Set("other", front.Route{Key: "p/other/run/us/one", Targets: []front.Target{{Name: "b", Percent: 100, Backend: b}}})
	f.Set("endpoint", front.Route{Key: "vertex/us/7", Targets: []front.Target{{Name: "a", Percent: 100, Backend: a}}})
	for url, want := range map[string]string{
		"http://127.0.0.1/run/us/one":                     "a / ",
		"http://127.0.0.1/run/us/one/":                    "a / ",
		"http://127.0.0.1/run/us/one/x/y%2Fz?q=1":         "a /x/y%2Fz?q=1 ",
		"http://one.local:8080/run/us/one":                "a /run/us/one ",
		"http://127.0.0.1/p/other/run/us/one/deep/er/yet": "b /deep/er/yet ",
	} {
		if code, got := ask(t, f, httptest.NewRequest(http.MethodGet, url, nil)); code != http.StatusOK || got != want {
			t.Errorf("%s: %d %q, want %q", url, code, got, want)
		}
	}
	for _, url := range []string{"http://127.0.0.1/", "http://127.0.0.1/run/us/two", "http://127.0.0.1/vertex/us/7/predict", "http://127.0.0.1/run/us/one/healthz"} {
		if code, got := ask(t, f, httptest.NewRequest(http.MethodGet, url, nil)); code != http.StatusNotFound {
			t.Errorf("%s: %d %q, want 404", url, code, got)
		}
	}
}

// Whatever the split, over any hundred requests in a row it is kept exactly.
func TestSplitIsExact(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	backends := []at{backend(t, "0"), backend(t, "1"), backend(t, "2")}
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.IntRange(0, 100).Draw(t, "first")
		second := rapid.IntRange(0, 100-first).Draw(t, "second")
		percents := []int{first, second, 100 - first - second}
		var targets []front.Target
		for i, p := range percents {
			targets = append(targets, front.Target{Name: fmt.Sprint(i), Percent: p, Backend: backends[i]})
		}
		f.Set("split", front.Route{Key: "run/us/split", Targets: targets})
		before := f.Requests().Counts().ByBackend
		for range 100 {
			if _, err := f.Call(context.Background(), "run/us/split", front.Request{Method: http.MethodGet, Path: "/"}, 1000); err != nil {
				t.Fatal(err)
			}
		}
		after := f.Requests().Counts().ByBackend
		for i, p := range percents {
			if got := after[fmt.Sprint(i)] - before[fmt.Sprint(i)]; got != p {
				t.Errorf("target %d got %d of 100, want %d of split %v", i, got, p, percents)
			}
		}
	})
}

// Landed counts a request from the moment that it has picked its target.
func TestLandedWaitsForWhatIsInFlight(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	began, finish := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(began)
		<-finish
	}))
	defer s.Close()
	f.Set("one", front.Route{Key: "run/us/one", Targets: []front.Target{{Name: "old", Percent: 100, Backend: at(s.Listener.Addr().String())}}})
	var asked sync.WaitGroup
	asked.Go(func() { ask(t, f, httptest.NewRequest(http.MethodGet, "/run/us/one", nil)) })
	<-began
	f.Set("one", front.Route{Key: "run/us/one", Targets: []front.Target{{Name: "new", Percent: 100, Backend: backend(t, "new")}}})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Landed(ended, "old"); !errors.Is(err, context.Canceled) {
		t.Errorf("a request is in flight, and Landed says %v", err)
	}
	if err := f.Landed(t.Context(), "new"); err != nil {
		t.Errorf("no request is in flight to the new target, and Landed says %v", err)
	}
	close(finish)
	if err := f.Landed(t.Context(), "old"); err != nil {
		t.Error(err)
	}
	asked.Wait()
}

// A backend that closes idle connections at its leisure, as servers do that
// drain, costs no request, not even a POST.
func TestClosedConnectionsCostNoRequest(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	}))
	var served atomic.Int64
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateIdle && served.Add(1)%3 == 0 {
			c.Close()
		}
	}
	s.Start()
	defer s.Close()
	f.Set("one", front.Route{Key: "run/us/one", Targets: []front.Target{{Name: "one", Percent: 100, Backend: at(s.Listener.Addr().String())}}})
	for i := range 300 {
		body := fmt.Sprint("request ", i)
		if code, got := ask(t, f, httptest.NewRequest(http.MethodPost, "/run/us/one", strings.NewReader(body))); code != http.StatusOK || got != body {
			t.Fatalf("request %d: %d %q", i, code, got)
		}
	}
}

// late is a backend that is never ready.
type late struct{}

func (late) Address(ctx context.Context) (string, error) {
	<-ctx.Done()
	return "", context.Cause(ctx)
}

func TestNobodyWaitsForEver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l, err := front.OpenLog(filepath.Join(dir, "front.ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f := front.New(l, slog.New(slog.DiscardHandler))
		defer f.Close()
		f.Set("late", front.Route{Key: "run/us/late", Targets: []front.Target{{Name: "late", Percent: 100, Backend: late{}}}})
		f.Set("short", front.Route{Key: "run/us/short", Timeout: time.Second, Targets: []front.Target{{Name: "late", Percent: 100, Backend: late{}}}})
		for path, want := range map[string]int{"/run/us/late": http.StatusTooManyRequests, "/run/us/short": http.StatusGatewayTimeout} {
			if code, _ := ask(t, f, httptest.NewRequest(http.MethodGet, path, nil)); code != want {
				t.Errorf("%s: %d, want %d", path, code, want)
			}
		}
	})
}

func TestBodyThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.Set("one", front.Route{Key: "run/us/one", Targets: []front.Target{{Name: "one", Percent: 100, Backend: backend(t, "one")}}})
	body := io.LimitReader(zeros{}, front.MostBody+1)
	if code, _ := ask(t, f, httptest.NewRequest(http.MethodPost, "/run/us/one", body)); code != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d, want 413", code)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestLogIsCountedAgainAfterAKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "front.ndjson")
	l, err := front.OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []front.Entry{{Backend: "a", Status: 200}, {Backend: "b", Status: 503}, {Backend: "a", Status: 400}, {Status: 404}, {Backend: "a"}} {
		if err := l.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	file.WriteString(`{"time":"2026-11-22T05:`) // where the kill has cut it
	file.Close()

	for range 2 { // the second time over what the first has repaired
		l, err = front.OpenLog(path)
		if err != nil {
			t.Fatal(err)
		}
		c := l.Counts()
		if c.Total != 5 || c.Failed != 2 || c.ByBackend["a"] != 3 || c.ByBackend["b"] != 1 {
			t.Errorf("counted %+v", c)
		}
		l.Close()
	}
}
