package onnx

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
)

// checkGraph refuses a model whose inputs and outputs are not schema's, before
// anything is laid over memory by the schema's word.
func checkGraph(path string, schema model.Schema) error {
	// A look at the graph needs no optimising, which is most of a session's cost.
	options, err := ort.NewSessionOptions()
	if err != nil {
		return fmt.Errorf("set ONNX Runtime's options: %w", err)
	}
	defer options.Destroy() //nolint:errcheck // it frees memory and returns nil
	if err := errors.Join(
		options.SetIntraOpNumThreads(1),
		options.SetInterOpNumThreads(1),
		options.SetGraphOptimizationLevel(ort.GraphOptimizationLevelDisableAll),
		options.AddSessionConfigEntry("session.disable_prepacking", "1"),
	); err != nil {
		return fmt.Errorf("set ONNX Runtime's options: %w", err)
	}
	inputs, outputs, err := ort.GetInputOutputInfoWithOptions(path, options)
	if err != nil {
		return unloadable(path, err)
	}
	if err := errors.Join(checkSide("input", inputs, schema.Inputs), checkSide("output", outputs, schema.Outputs)); err != nil {
		return fault.Newf(fault.Corrupt, "%s is not the model that %s describes: %w", filepath.Base(path), model.SchemaFile, err).
			WithHint("export both files in one go: a model and another model's schema do not fit")
	}
	return nil
}

// checkSide compares the inputs or the outputs of a graph with the schema's.
func checkSide(side string, graph []ort.InputOutputInfo, schema []model.Tensor) error {
	if len(graph) != len(schema) {
		return fmt.Errorf("the graph has %d %ss, the schema %d", len(graph), side, len(schema))
	}
	for i, g := range graph {
		t := schema[i]
		if g.Name != t.Name {
			return fmt.Errorf("%s %d is called %q in the graph, %q in the schema", side, i, g.Name, t.Name)
		}
		want := ort.TensorElementDataType(ort.TensorElementDataTypeFloat)
		if t.DType == model.Int64 {
			want = ort.TensorElementDataTypeInt64
		}
		if g.OrtValueType != ort.ONNXTypeTensor || g.DataType != want {
			return fmt.Errorf("%s %q is %s in the graph, %s in the schema", side, g.Name, g.DataType, t.DType)
		}
		if !fits(g.Dimensions, t.Shape) {
			return fmt.Errorf("%s %q has shape %v in the graph, [batch]%v in the schema", side, g.Name, []int64(g.Dimensions), t.Shape)
		}
	}
	return nil
}

// fits tells whether rows of the given shape can stand behind a dynamic batch
// axis (-1) in a graph's tensor. The graph may leave an axis open.
func fits(graph ort.Shape, row []int) bool {
	if len(graph) != 1+len(row) || graph[0] != -1 {
		return false
	}
	return slices.EqualFunc(graph[1:], row, func(g int64, r int) bool { return g == -1 || g == int64(r) })
}
