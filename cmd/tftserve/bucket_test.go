package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bucket answers the reads of one bucket with the files of a folder, as Cloud
// Storage does for alt=media; anything else it refuses.
func bucket(dir string, before func(r *http.Request)) http.Handler {
	files := http.FileServer(http.Dir(dir))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before(r)
		object, found := strings.CutPrefix(r.URL.EscapedPath(), "/storage/v1/b/models/o/")
		name, err := url.PathUnescape(object)
		name, inside := strings.CutPrefix(name, "forecast/v1/")
		if !found || err != nil || r.Method != http.MethodGet || r.FormValue("alt") != "media" {
			http.Error(w, "this bucket knows one way to be read", http.StatusNotImplemented)
			return
		}
		if !inside {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("X-Goog-Generation", "1")
		r.URL.Path = "/" + name
		files.ServeHTTP(w, r)
	})
}

func TestModelIsFetchedFromABucket(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(bucket(v1(), func(*http.Request) {}))
	defer s.Close()
	host := "STORAGE_EMULATOR_HOST=" + strings.TrimPrefix(s.URL, "http://")
	tmp := t.TempDir()
	p := launch(t, []string{host, "AIP_STORAGE_URI=gs://models/forecast/v1", "TMPDIR=" + tmp}, nil)
	ready := p.logs.wait(t, "ready")
	t.Logf("start to ready from a bucket: %v ms", ready["ms"])
	if status, _, text, err := p.predict(t.Context(), bytes.NewReader(sample(t))); err != nil || status != 200 {
		t.Errorf("status %d, %v: %.200s", status, err, text)
	}
	if left := entries(t, tmp); len(left) > 0 {
		t.Errorf("what was fetched is still there: %v", left)
	}
}

func TestModelMissingInTheBucketIsABadSetting(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(bucket(v1(), func(*http.Request) {}))
	defer s.Close()
	host := "STORAGE_EMULATOR_HOST=" + strings.TrimPrefix(s.URL, "http://")
	cmd := command(t, []string{host}, nil, "--port", "0", "--model", "gs://models/other")
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "gs://models/other") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestServerThatLoadsIsLiveNotStartedAndMayLeave(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 100)
	s := httptest.NewServer(bucket(v1(), func(r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done() // as a bucket that takes forever
	}))
	defer s.Close()
	host := "STORAGE_EMULATOR_HOST=" + strings.TrimPrefix(s.URL, "http://")
	p := launch(t, []string{host}, nil, "--model", "gs://models/forecast/v1")
	<-asked
	for path, want := range map[string]int{"/health/startup": 503, "/health/live": 200, "/health/ready": 503} {
		if got := p.get(t, path); got != want {
			t.Errorf("%s answers %d while loading, want %d", path, got, want)
		}
	}
	if status, _, _, err := p.predict(t.Context(), bytes.NewReader(sample(t))); err != nil || status != 503 {
		t.Errorf("a prediction while loading: status %d, %v; want 503", status, err)
	}
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, _ := p.end(t); code != 0 || time.Since(began) >= grace {
		t.Errorf("exit %d after %v, want 0 within %v:\n%s", code, time.Since(began), grace, p.logs)
	}
}
