package onnx

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/tftctl/tftctl/pkg/model"
)

// A key that ONNX Runtime does not know is accepted in silence, so the one that
// turns a fusion off is proved by the graph that ONNX Runtime then runs: it
// saves it, and the fused operator is in it or not.
func TestTheSlowFusionIsOff(t *testing.T) {
	library := os.Getenv("TFT_ORT_LIBRARY")
	if library == "" {
		library = "../../bin/libonnxruntime.so.1"
	}
	if _, err := Load(library); err != nil {
		t.Fatalf("%v\nhint: run `make test`, which fetches it; or set TFT_ORT_LIBRARY", err)
	}
	bundle, err := model.OpenBundle("../../examples/tft/models/v1", "")
	if err != nil {
		t.Fatal(err)
	}
	fused := func(options *ort.SessionOptions, err error) bool {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer options.Destroy() //nolint:errcheck // it frees memory and returns nil
		saved := filepath.Join(t.TempDir(), "optimised.onnx")
		if err := options.SetOptimizedModelFilePath(saved); err != nil {
			t.Fatal(err)
		}
		s, err := ort.NewDynamicAdvancedSession(filepath.Join(bundle.Dir, bundle.Manifest.Model), names(bundle.Schema.Inputs), names(bundle.Schema.Outputs), options)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Destroy() //nolint:errcheck // as above
		content, err := os.ReadFile(saved)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(content, []byte("SkipLayerNormalization"))
	}
	if !fused(ort.NewSessionOptions()) {
		t.Error("ONNX Runtime's own options do not fuse this model: the test proves nothing")
	}
	if fused(tuned()) {
		t.Error("the fusion is on in the tuned options: the key that turns it off has no effect")
	}
}
