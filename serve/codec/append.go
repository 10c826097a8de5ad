package codec

import (
	"math"
	"strconv"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/serve/tensor"
)

// AppendRow appends row row of rows to b, as the object that Row reads. Floats
// are written in the shortest form that reads back as the same float32.
//
// Errors: Internal for a NaN or an infinity, which JSON cannot say.
func (c *Codec) AppendRow(b []byte, rows tensor.Rows, row int) ([]byte, error) {
	b = append(b, '{')
	for i := range c.fields {
		f := &c.fields[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, f.key...)
		n := f.Elements()
		if f.DType == model.Int64 {
			ints := rows.Int64(i)[row*n : (row+1)*n]
			b = appendAxes(b, f, 0, 0, func(b []byte, k int) []byte { return strconv.AppendInt(b, ints[k], 10) })
			continue
		}
		floats := rows.Float32(i)[row*n : (row+1)*n]
		for k, v := range floats {
			if x := float64(v); math.IsNaN(x) || math.IsInf(x, 0) {
				return nil, fault.Newf(fault.Internal, "the model answered %v in %s, which is not a finite number", v, f.at(k, len(f.Shape)))
			}
		}
		b = appendAxes(b, f, 0, 0, func(b []byte, k int) []byte { return appendFloat32(b, floats[k]) })
	}
	return append(b, '}'), nil
}

// appendAxes appends the value of axis axis whose first element has the flat
// index from.
func appendAxes(b []byte, f *field, axis, from int, element func(b []byte, k int) []byte) []byte {
	if axis == len(f.Shape) {
		return element(b, from)
	}
	b = append(b, '[')
	for i := range f.Shape[axis] {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendAxes(b, f, axis+1, from+i*f.stride[axis], element)
	}
	return append(b, ']')
}

// appendFloat32 appends v with as few digits as tell it from its neighbours.
func appendFloat32(b []byte, v float32) []byte {
	form := byte('f')
	if a := math.Abs(float64(v)); a != 0 && (a < 1e-6 || a >= 1e21) {
		form = 'e' // where digits would be mostly zeros; JSON allows the form "1e-07"
	}
	return strconv.AppendFloat(b, float64(v), form, -1, 32)
}
