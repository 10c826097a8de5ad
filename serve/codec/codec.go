// Package codec is tensors as JSON: a reader and a writer compiled from a
// model's schema. They put numbers where the model computes on them, in one
// pass, and refuse whatever the schema does not say.
package codec

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/tftctl/tftctl/pkg/model"
)

// Codec reads and writes the rows of one side of a schema, its inputs or its
// outputs. It does not change and may be shared.
type Codec struct {
	fields []field
	names  string // all of them, for messages
}

// field is one tensor of a row.
type field struct {
	model.Tensor
	key    []byte  // `"name":`, for the writer
	stride []int   // elements below one step of each axis
	limits []int64 // int64: for each position of the last axis, the number of its categories; nil: no bound
}

// Compile returns the codec of tensors.
func Compile(tensors []model.Tensor) (*Codec, error) {
	c := &Codec{}
	var names []string
	for _, t := range tensors {
		if t.DType != model.Float32 && t.DType != model.Int64 {
			return nil, fmt.Errorf("compile a codec: tensor %q has dtype %q", t.Name, t.DType)
		}
		name, err := json.Marshal(t.Name)
		if err != nil {
			return nil, fmt.Errorf("compile a codec: name of tensor %q: %w", t.Name, err)
		}
		f := field{Tensor: t, key: append(name, ':'), stride: make([]int, len(t.Shape)), limits: limits(t)}
		below := 1
		for axis := len(t.Shape) - 1; axis >= 0; axis-- {
			f.stride[axis] = below
			below *= t.Shape[axis]
		}
		c.fields = append(c.fields, f)
		names = append(names, t.Name)
	}
	c.names = strings.Join(names, ", ")
	return c, nil
}

// limits returns the categories of each position of t's last axis, nil where
// none is bounded.
func limits(t model.Tensor) []int64 {
	width, bounded := 1, t.Categories > 0
	if len(t.Shape) > 0 {
		width = t.Shape[len(t.Shape)-1]
	}
	out := make([]int64, width)
	for i := range out {
		out[i] = int64(t.Categories)
		if len(t.Columns) > 0 {
			out[i] = int64(t.Columns[i].Categories)
			bounded = bounded || out[i] > 0
		}
	}
	if t.DType != model.Int64 || !bounded {
		return nil
	}
	return out
}

// at names the element of f at the flat index, as far as axes go: "x[17][2]".
func (f *field) at(index, axes int) string {
	var b strings.Builder
	b.WriteString(f.Name)
	for axis := range axes {
		b.WriteString("[" + strconv.Itoa(index/f.stride[axis]%f.Shape[axis]) + "]")
	}
	return b.String()
}
