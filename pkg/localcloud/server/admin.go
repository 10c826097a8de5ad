package server

import (
	"encoding/json"
	"net/http"

	"github.com/tftctl/tftctl/pkg/localcloud/fleet"
	"github.com/tftctl/tftctl/pkg/localcloud/front"
)

// Schema is the version of what the local cloud's own pages answer.
const Schema = "tftctl/localcloud/v1"

// Status is the answer of /_local/status.
type Status struct {
	Schema     string              `json:"schema"`
	ControlURL string              `json:"control_url"`
	FrontURL   string              `json:"front_url"`
	Project    string              `json:"project"`
	Ready      bool                `json:"ready"` // what served before a restart serves again
	Instances  []fleet.Description `json:"instances"`
	Routes     []string            `json:"routes"`
	Requests   int                 `json:"requests"`
}

// Requests is the answer of /_local/requests.
type Requests struct {
	Schema string `json:"schema"`
	front.Counts
}

// NewAdmin returns the handler of /_local/.
func NewAdmin(status func() Status, requests func() front.Counts) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_local/status", func(w http.ResponseWriter, _ *http.Request) {
		s := status()
		s.Schema = Schema
		answer(w, s)
	})
	mux.HandleFunc("GET /_local/requests", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, Requests{Schema: Schema, Counts: requests()})
	})
	mux.HandleFunc("/_local/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "NOT_FOUND", "there are GET /_local/status and GET /_local/requests, no "+r.Method+" "+r.URL.Path)
	})
	return mux
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // a caller that is gone needs no answer
}
