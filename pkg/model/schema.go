package model

import (
	"fmt"
	"slices"

	"github.com/tftctl/tftctl/pkg/fault"
)

// SchemaFile is the name of a bundle's schema file.
const SchemaFile = "schema.json"

// Schema is a model's inputs and outputs, in the order of the ONNX graph.
type Schema struct {
	Schema  string   `json:"schema"` // SchemaSchema
	Inputs  []Tensor `json:"inputs"`
	Outputs []Tensor `json:"outputs"`
}

// DType is the type of a tensor's elements.
type DType string

// The types that can be served.
const (
	Float32 DType = "float32"
	Int64   DType = "int64"
)

// Tensor is one input or output. Shape is that of one row: the batch axis,
// which is dynamic, stands in front and is not written down.
type Tensor struct {
	Name  string `json:"name"`
	DType DType  `json:"dtype"`
	Shape []int  `json:"shape"`
	// Columns names the last axis, in order; empty where it has no names.
	Columns []Column `json:"columns,omitempty"`
	// Unit is the unit of every element where there are no Columns.
	Unit string `json:"unit,omitempty"`
	// Categories is the number of classes of an int64 tensor without Columns:
	// values are 0 to Categories-1. 0: no bound.
	Categories int `json:"categories,omitempty"`
}

// Column is one position of a tensor's last axis.
type Column struct {
	Name       string `json:"name"`
	Unit       string `json:"unit,omitempty"`       // of the value that enters the graph; "1" for a scaled or dimensionless one
	Categories int    `json:"categories,omitempty"` // int64: values are 0 to Categories-1
}

// Elements returns how many elements one row has.
func (t Tensor) Elements() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// maxElements bounds one row of one tensor, so that a schema cannot ask for
// more memory than any forecaster needs.
const maxElements = 1 << 24

// ReadSchema reads a schema file.
func ReadSchema(content []byte) (Schema, error) {
	var s Schema
	if err := decodeStrict(content, SchemaFile, &s); err != nil {
		return Schema{}, err
	}
	if s.Schema != SchemaSchema {
		return Schema{}, fault.Newf(fault.Invalid, "%s: schema is %q, want %q", SchemaFile, s.Schema, SchemaSchema).
			WithHint("export the model again with this release's examples/tft/export.py, or take the tftctl that wrote it")
	}
	if len(s.Inputs) == 0 || len(s.Outputs) == 0 {
		return Schema{}, fault.Newf(fault.Invalid, "%s: a model has at least one input and one output", SchemaFile)
	}
	for side, tensors := range map[string][]Tensor{"inputs": s.Inputs, "outputs": s.Outputs} {
		var names []string
		for i, t := range tensors {
			if err := t.check(); err != nil {
				return Schema{}, fault.Newf(fault.Invalid, "%s: %s[%d] %q: %w", SchemaFile, side, i, t.Name, err)
			}
			if slices.Contains(names, t.Name) {
				return Schema{}, fault.Newf(fault.Invalid, "%s: %s[%d] %q stands there twice", SchemaFile, side, i, t.Name)
			}
			names = append(names, t.Name)
		}
	}
	return s, nil
}

func (t Tensor) check() error {
	if t.Name == "" {
		return fmt.Errorf("has no name")
	}
	if t.DType != Float32 && t.DType != Int64 {
		return fmt.Errorf("dtype %q is neither float32 nor int64", t.DType)
	}
	n := 1
	for _, d := range t.Shape {
		if d < 1 || d > maxElements/n {
			return fmt.Errorf("shape %v has more than %d elements or an axis below 1", t.Shape, maxElements)
		}
		n *= d
	}
	if len(t.Columns) > 0 && (len(t.Shape) == 0 || t.Shape[len(t.Shape)-1] != len(t.Columns)) {
		return fmt.Errorf("%d columns do not fit shape %v", len(t.Columns), t.Shape)
	}
	return nil
}
