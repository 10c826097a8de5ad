// Package fleettest is a small server that keeps the container contracts, for
// tests: a test binary that is started again with Env is such a server.
package fleettest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// Env in a process's environment makes Asked say yes.
const Env = "LOCALCLOUD_FLEETTEST=1"

// The variables that change what the server does.
const (
	Fail     = "CHILD_FAIL"     // set: it prints the value and exits with code 3
	Deaf     = "CHILD_DEAF"     // set: it never listens
	Stubborn = "CHILD_STUBBORN" // set: it ignores SIGTERM
	Unwell   = "CHILD_UNWELL"   // set: its health route answers 503
	Greeting = "CHILD_GREETING" // returned in Reply
)

// Reply is what the server answers every request that is not special.
type Reply struct {
	Revision   string `json:"revision,omitempty"`
	Service    string `json:"service,omitempty"`
	DeployedID string `json:"deployed_id,omitempty"`
	StorageURI string `json:"storage_uri,omitempty"`
	Greeting   string `json:"greeting,omitempty"`
	Path       string `json:"path,omitempty"`
	PID        int    `json:"pid"`
}

// Asked says whether this process was started to be the server.
func Asked() bool { return os.Getenv("LOCALCLOUD_FLEETTEST") == "1" }

// Main is the server's life; it returns the exit code.
//
// Paths: /slow waits until the process is told to stop and a moment longer;
// /crash ends the process; /sicken and /heal change what its health route says;
// a POST with instances answers one prediction each.
func Main() int {
	if why := os.Getenv(Fail); why != "" {
		fmt.Fprintln(os.Stderr, why)
		return 3
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	if os.Getenv(Deaf) != "" {
		<-terminated
		return 0
	}
	port := os.Getenv("AIP_HTTP_PORT")
	if port == "" {
		port = os.Getenv("PORT")
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort(os.Getenv("TFT_BIND_HOST"), port))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	leaving := make(chan struct{})
	s := &http.Server{Handler: handler(leaving)}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	for {
		select {
		case err := <-failed:
			fmt.Fprintln(os.Stderr, err)
			return 1
		case <-terminated:
		}
		if os.Getenv(Stubborn) == "" {
			break
		}
	}
	close(leaving)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if s.Shutdown(ctx) != nil {
		return 1
	}
	return 0
}

func handler(leaving <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Began", "yes")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush() // what is not flushed comes with the rest
		select {
		case <-leaving:
		case <-r.Context().Done():
			return
		}
		<-time.After(50 * time.Millisecond) // its listener is closed by now
		answer(w, r)
	})
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(2) })
	mux.HandleFunc("/refuse", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "instances[0] is not what the model takes", http.StatusBadRequest)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		_, _ = io.Copy(w, r.Body) // a caller that is gone reads no error either
	})
	if health := os.Getenv("AIP_HEALTH_ROUTE"); health != "" {
		var unwell atomic.Bool
		unwell.Store(os.Getenv(Unwell) != "")
		mux.HandleFunc("/sicken", func(http.ResponseWriter, *http.Request) { unwell.Store(true) })
		mux.HandleFunc("/heal", func(http.ResponseWriter, *http.Request) { unwell.Store(false) })
		mux.HandleFunc("GET "+health, func(w http.ResponseWriter, _ *http.Request) {
			if unwell.Load() {
				http.Error(w, "unwell", http.StatusServiceUnavailable)
			}
		})
	}
	mux.HandleFunc("/", answer)
	return mux
}

func answer(w http.ResponseWriter, r *http.Request) {
	reply := Reply{
		Revision: os.Getenv("K_REVISION"), Service: os.Getenv("K_SERVICE"),
		DeployedID: os.Getenv("AIP_DEPLOYED_MODEL_ID"), StorageURI: os.Getenv("AIP_STORAGE_URI"),
		Greeting: os.Getenv(Greeting), Path: r.URL.RequestURI(), PID: os.Getpid(),
	}
	if release := os.Getenv("TFT_RELEASE"); release != "" {
		w.Header().Set("X-Tft-Release", release)
	}
	w.Header().Set("Content-Type", "application/json")
	var body struct {
		Instances []json.RawMessage `json:"instances"`
	}
	if r.Method == http.MethodPost && json.NewDecoder(r.Body).Decode(&body) == nil && body.Instances != nil {
		predictions := make([]Reply, len(body.Instances))
		for i := range predictions {
			predictions[i] = reply
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"predictions": predictions}) // a caller that is gone reads no error either
		return
	}
	_ = json.NewEncoder(w).Encode(reply) // as above
}
