package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/tftctl/tftctl/pkg/model"
)

// golden is the answers that the model gave where it was trained.
type golden struct {
	Schema    string             `json:"schema"`
	Digest    model.Digest       `json:"model_digest"`
	OutputStd map[string]float64 `json:"output_std"`
	Requests  []struct {
		Instance   json.RawMessage `json:"instance"`
		Prediction map[string]any  `json:"prediction"`
	} `json:"requests"`
}

func TestAnswersAreThoseOfTheTrainedModel(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(examples, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(content, &g); err != nil {
		t.Fatal(err)
	}
	if g.Schema != "tftctl/golden/v1" || len(g.Requests) != 32 {
		t.Fatalf("golden.json: schema %q with %d requests, want tftctl/golden/v1 with 32", g.Schema, len(g.Requests))
	}
	p := serving(t, v1(), "TFT_MODEL_DIGEST="+string(g.Digest), "TFT_RELEASE=v1-3f9a1c2b")

	// Each alone, and all in one request, which takes several runs.
	var all [][]byte
	for _, r := range g.Requests {
		all = append(all, r.Instance)
	}
	bodies := [][]byte{fmt.Appendf(nil, `{"instances":[%s]}`, bytes.Join(all, []byte(",")))}
	first := []int{0}
	for i, instance := range all {
		bodies = append(bodies, fmt.Appendf(nil, `{"instances":[%s],"parameters":{}}`, instance))
		first = append(first, i)
	}
	worst := 0.0
	for k, body := range bodies {
		status, header, text, err := p.predict(t.Context(), bytes.NewReader(body))
		if err != nil || status != 200 {
			t.Fatalf("status %d, %v: %.300s", status, err, text)
		}
		if header.Get("X-Tft-Release") != "v1-3f9a1c2b" || header.Get("X-Tft-Model") != "forecast@sha256:"+g.Digest.Short() {
			t.Errorf("the answer names release %q and model %q", header.Get("X-Tft-Release"), header.Get("X-Tft-Model"))
		}
		var got struct {
			Predictions []map[string]any `json:"predictions"`
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		for i, prediction := range got.Predictions {
			for name, want := range g.Requests[first[k]+i].Prediction {
				e, err := distance(prediction[name], want)
				if err != nil {
					t.Fatalf("request %d, %s: %v", first[k]+i, name, err)
				}
				worst = max(worst, e/g.OutputStd[name])
			}
		}
		if want := map[bool]int{true: 32, false: 1}[k == 0]; len(got.Predictions) != want {
			t.Errorf("%d predictions for %d instances", len(got.Predictions), want)
		}
	}
	t.Logf("largest error: %.2g of the output's standard deviation", worst)
	if worst > 1e-4 {
		t.Errorf("an answer is off by %g of the output's standard deviation, want at most 1e-4", worst)
	}
}

// distance returns the largest difference of two nested arrays of one shape.
func distance(got, want any) (float64, error) {
	switch w := want.(type) {
	case float64:
		g, ok := got.(float64)
		if !ok {
			return 0, fmt.Errorf("got %v, want a number", got)
		}
		return math.Abs(g - w), nil
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return 0, fmt.Errorf("got an answer of another shape")
		}
		worst := 0.0
		for i := range w {
			d, err := distance(g[i], w[i])
			if err != nil {
				return 0, err
			}
			worst = max(worst, d)
		}
		return worst, nil
	}
	return 0, fmt.Errorf("the golden answer holds %T", want)
}
