package onnx_test

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/serve/onnx"
	"github.com/tftctl/tftctl/serve/tensor"
	"github.com/tftctl/tftctl/serve/worker"
)

// The proof stands here because onnx does not know worker.
var _ worker.Runtime = (*onnx.Session)(nil)

// example is the bundle that the tests open.
const example = "../../examples/tft/models/v1"

// load loads ONNX Runtime for the test's process.
func load(t *testing.T) string {
	t.Helper()
	path := os.Getenv("TFT_ORT_LIBRARY")
	if path == "" {
		path = "../../bin/libonnxruntime.so.1"
	}
	version, err := onnx.Load(path)
	if err != nil {
		t.Fatalf("%v\nhint: run third_party/onnxruntime/fetch.sh bin, or `make test`, which does; or set TFT_ORT_LIBRARY", err)
	}
	return version
}

// bundle returns the example and a worker's lanes over its schema.
func bundle(t *testing.T) *model.Bundle {
	t.Helper()
	b, err := model.OpenBundle(example, "")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// open opens the model at path as schema says, with the memory of a Worker.
func open(path string, schema model.Schema) (*worker.Worker, error) {
	return worker.New(schema, worker.Options{Lanes: 1, Chunk: 4}, func(in, out []tensor.Rows) (worker.Runtime, error) {
		return onnx.Open(path, schema, in, out)
	})
}

func TestLibraryIsRecentAndSilent(t *testing.T) {
	if version := load(t); !regexp.MustCompile(`^1\.(2[4-9]|[3-9]\d)\.`).MatchString(version) {
		t.Errorf("version %s, want 1.24 or later", version)
	}
	if got := os.Getenv("ORT_DISABLE_TELEMETRY"); got != "1" {
		t.Errorf("ORT_DISABLE_TELEMETRY is %q, want 1", got)
	}
}

func TestExampleOpens(t *testing.T) {
	load(t)
	b := bundle(t)
	w, err := open(filepath.Join(example, b.Manifest.Model), b.Schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// steps gives n rows that differ, and keeps the answers.
type steps struct {
	n       int
	answers [][]float32
}

func (s *steps) Fill(room tensor.Rows) (int, error) {
	n := min(s.n, room.Len())
	for i, t := range room.Tensors() {
		for row := range n {
			if floats := room.Float32(i); floats != nil {
				for k := range t.Elements() {
					floats[row*t.Elements()+k] = float32(math.Sin(float64((s.n-row)*17 + k)))
				}
			} else {
				clear(room.Int64(i)[row*t.Elements() : (row+1)*t.Elements()])
			}
		}
	}
	s.n -= n
	return n, nil
}

func (s *steps) Take(rows tensor.Rows) error {
	all := rows.Float32(0)
	n := len(all) / rows.Len()
	for row := range rows.Len() {
		s.answers = append(s.answers, slices.Clone(all[row*n:(row+1)*n]))
	}
	return nil
}

func TestRowsDoNotDependOnTheirNeighbours(t *testing.T) {
	load(t)
	b := bundle(t)
	w, err := open(filepath.Join(example, b.Manifest.Model), b.Schema)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	together := &steps{n: 7} // chunks of 4 and 3
	if err := w.Predict(t.Context(), together, together); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 7; n++ { // n rows left is what row 7-n was filled by
		alone := &steps{n: n}
		if err := w.Predict(t.Context(), alone, alone); err != nil {
			t.Fatal(err)
		}
		want := alone.answers[0]
		for k, got := range together.answers[7-n] {
			if diff := math.Abs(float64(got - want[k])); diff > 1e-3*(1+math.Abs(float64(want[k]))) {
				t.Fatalf("row %d, element %d: %v among others, %v in front", 7-n, k, got, want[k])
			}
		}
	}
}

func TestDamagedModelIsCorrupt(t *testing.T) {
	load(t)
	b := bundle(t)
	whole, err := os.ReadFile(filepath.Join(example, b.Manifest.Model))
	if err != nil {
		t.Fatal(err)
	}
	broken := slices.Clone(whole)
	for i := range broken[:200] {
		broken[i] ^= 0xff
	}
	for name, content := range map[string][]byte{
		"empty": {}, "cut off": whole[:len(whole)/2], "without its end": whole[:len(whole)-1], "broken": broken, "text": []byte("this is no model"),
	} {
		path := filepath.Join(t.TempDir(), "model.onnx")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := open(path, b.Schema)
		if fault.KindOf(err) != fault.Corrupt || fault.HintOf(err) == "" {
			t.Errorf("%s: got %v, want Corrupt with a hint", name, err)
		}
		if w != nil {
			t.Errorf("%s: it was opened", name)
		}
	}
}

func TestSchemaOfAnotherModelIsCorrupt(t *testing.T) {
	load(t)
	path := filepath.Join(example, "model.onnx")
	for name, change := range map[string]func(s *model.Schema){
		"input's name":    func(s *model.Schema) { s.Inputs[0].Name = "other" },
		"input's dtype":   func(s *model.Schema) { s.Inputs[0].DType = model.Float32 },
		"input's shape":   func(s *model.Schema) { s.Inputs[0].Shape = []int{99} },
		"input's rank":    func(s *model.Schema) { s.Inputs[0].Shape = append(s.Inputs[0].Shape, 1) },
		"input missing":   func(s *model.Schema) { s.Inputs = s.Inputs[1:] },
		"inputs' order":   func(s *model.Schema) { s.Inputs[0], s.Inputs[1] = s.Inputs[1], s.Inputs[0] },
		"output's name":   func(s *model.Schema) { s.Outputs[0].Name = "other" },
		"output's dtype":  func(s *model.Schema) { s.Outputs[0].DType = model.Int64 },
		"output's shape":  func(s *model.Schema) { s.Outputs[0].Shape = []int{1, 2} },
		"output too many": func(s *model.Schema) { s.Outputs = append(s.Outputs, s.Outputs[0]) },
	} {
		schema := bundle(t).Schema
		change(&schema)
		w, err := open(path, schema)
		if fault.KindOf(err) != fault.Corrupt || fault.HintOf(err) == "" {
			t.Errorf("%s: got %v, want Corrupt with a hint", name, err)
		}
		if w != nil {
			t.Errorf("%s: it was opened", name)
		}
	}
}

func TestLibraryThatIsNoneIsRefused(t *testing.T) {
	if err := onnx.Unload(); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "libonnxruntime.so.1")
	if err := os.WriteFile(text, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{text, filepath.Join(t.TempDir(), "missing.so")} {
		if _, err := onnx.Load(path); fault.KindOf(err) != fault.Invalid || fault.HintOf(err) == "" {
			t.Errorf("%s: got %v, want Invalid with a hint", filepath.Base(path), err)
		}
	}
	load(t) // and the right one still loads
}
