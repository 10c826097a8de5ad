package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The demo is the end-to-end test: it fails when one of its promises breaks.
func TestTheWholeStory(t *testing.T) {
	bin := filepath.Join("..", "..", "bin")
	for _, program := range []string{"tftctl", "tftserve", "libonnxruntime.so.1"} {
		if _, err := os.Stat(filepath.Join(bin, program)); err != nil {
			t.Fatalf("%v; run `make build`, or the tests by `make test`", err)
		}
	}
	file := filepath.Join(t.TempDir(), "demo.json")
	err := Run(t.Context(), Options{Bin: bin, Models: filepath.Join("..", "tft"), Result: file, Out: t.Output()})
	if err != nil {
		t.Error(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		OK       bool           `json:"ok"`
		Checked  int            `json:"golden_checked"`
		Worst    float64        `json:"golden_max_error"`
		Requests int            `json:"requests"`
		By       map[string]int `json:"requests_by_version"`
		Failed   int            `json:"failed_requests"`
		Rollback int            `json:"rollback_ms"`
		SHA256   string         `json:"model_sha256"`
		Steps    []struct {
			Name string `json:"name"`
			OK   bool   `json:"ok"`
		} `json:"steps"`
	}
	if err := json.Unmarshal(content, &got); err != nil {
		t.Fatal(err)
	}
	if !got.OK || got.Checked != 32 || got.Requests < leastRequests || got.Failed != 0 || got.By["v1"] == 0 || got.By["v2"] == 0 ||
		got.Worst > mostGolden || got.Rollback <= 0 || len(got.SHA256) != 64 || len(got.Steps) < 15 {
		t.Errorf("the result is %s", content)
	}
}
