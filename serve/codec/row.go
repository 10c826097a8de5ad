package codec

import (
	"fmt"
	"strings"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/serve/tensor"
)

// spot is a place inside a row. It is made on the way to an error only.
type spot struct {
	row  Place
	rest string // "encoder_cont[17][2]"
}

func (s spot) String() string { return s.row.String() + "." + s.rest }

// Row reads one object, {"name": nested arrays in the row's shape, ...}, into
// row row of room, whose tensors are those that the Codec was compiled from.
// Place is where the object stands in the request, for messages.
//
// Errors: Malformed for text that is not JSON, Invalid for a name that is
// unknown, missing or there twice, and for a value of the wrong type, shape or
// range. The message names the place: "instances[3].encoder_cont[17][2]: ...".
func (c *Codec) Row(r *Reader, room tensor.Rows, row int, place Place) error {
	var here fmt.Stringer = place // once: each conversion allocates
	if err := r.Begin('{', here); err != nil {
		return err
	}
	var few [8]bool // so that seen costs nothing for every model we know
	seen := few[:]
	if len(c.fields) > len(few) {
		seen = make([]bool, len(c.fields))
	}
	guess := 0 // members mostly come in the schema's order
	for first := true; ; first = false {
		more, err := r.More(first, '}', here)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		name, err := r.name(here)
		if err != nil {
			return err
		}
		i := c.find(name, guess)
		if i < 0 {
			return fault.Newf(fault.Invalid, "%s: unknown name %.64q", place, name).WithHint("the model's inputs are %s", c.names)
		}
		if seen[i] {
			return fault.Newf(fault.Invalid, "%s: the name %q is there twice", place, name)
		}
		seen[i], guess = true, i+1
		f := &c.fields[i]
		n := f.Elements()
		d := dest{reader: r, field: f, place: place}
		if f.DType == model.Float32 {
			d.floats = room.Float32(i)[row*n : (row+1)*n]
		} else {
			d.ints = room.Int64(i)[row*n : (row+1)*n]
		}
		if err := d.read(0, 0); err != nil {
			return err
		}
	}
	for i := range c.fields {
		if !seen[i] {
			return fault.Newf(fault.Invalid, "%s: the name %q is missing", place, c.fields[i].Name).
				WithHint("the model's inputs are %s", c.names)
		}
	}
	return nil
}

// find returns the field called name, -1 if there is none.
func (c *Codec) find(name []byte, guess int) int {
	for k := range c.fields {
		i := (guess + k) % len(c.fields)
		if string(name) == c.fields[i].Name {
			return i
		}
	}
	return -1
}

// dest is one tensor of one row, being read.
type dest struct {
	reader *Reader
	field  *field
	place  Place
	floats []float32 // one of the two
	ints   []int64
}

// read reads the value of axis axis whose first element has the flat index from.
func (d *dest) read(axis, from int) error {
	if axis == len(d.field.Shape) {
		return d.number(from)
	}
	r, want, step := d.reader, d.field.Shape[axis], d.field.stride[axis]
	if r.peek() != '[' {
		return r.mismatch(d.spot(from, axis), fmt.Sprintf("an array of %d", want))
	}
	r.at++
	for i := range want {
		switch c := r.peek(); {
		case c == ']':
			return d.badLength(from, axis, fmt.Sprintf("has %d", i))
		case i == 0:
		case c == ',':
			r.at++
		default:
			return r.garbage(d.spot(from, axis))
		}
		if err := d.read(axis+1, from+i*step); err != nil {
			return err
		}
	}
	switch r.peek() {
	case ']':
		r.at++
		return nil
	case ',':
		return d.badLength(from, axis, fmt.Sprintf("has more than %d", want))
	}
	return r.garbage(d.spot(from, axis))
}

// number reads the element with the flat index i.
func (d *dest) number(i int) error {
	r := d.reader
	if c := r.peek(); c != '-' && (c < '0' || c > '9') {
		return d.notNumber(i)
	}
	var wrong string
	start := r.at
	if d.ints != nil {
		var v int64
		if v, wrong = r.int64(); wrong == "" {
			if limits := d.field.limits; limits != nil {
				if n := limits[i%len(limits)]; n > 0 && (v < 0 || v >= n) {
					return d.invalid(i, "%d is outside the categories 0 to %d", v, n-1)
				}
			}
			d.ints[i] = v
		}
	} else {
		var v float32
		if v, wrong = r.float32(); wrong == "" {
			d.floats[i] = v
		}
	}
	switch wrong {
	case "":
		return nil
	case grammar:
		if strings.HasPrefix(string(r.text[start:min(start+2, len(r.text))]), "-I") {
			return d.invalid(i, "infinity is not a finite number")
		}
		return r.garbage(d.spot(i, len(d.field.Shape)))
	}
	return d.invalid(i, "%.40s %s", r.text[start:r.at], wrong)
}

// notNumber is the error for whatever stands in place of element i.
func (d *dest) notNumber(i int) error {
	r := d.reader
	rest := r.text[r.at:]
	for _, word := range []string{"NaN", "nan", "Infinity", "inf", "Inf"} {
		if strings.HasPrefix(string(rest[:min(len(word), len(rest))]), word) {
			return d.invalid(i, "%s is not a finite number", word)
		}
	}
	want := "a number"
	if d.field.DType == model.Int64 {
		want = "a whole number"
	}
	if r.peek() == '[' {
		return d.invalid(i, "want %s, found an array: the row's shape is %v", want, d.field.Shape)
	}
	return r.mismatch(d.spot(i, len(d.field.Shape)), want)
}

func (d *dest) badLength(from, axis int, has string) error {
	return fault.Newf(fault.Invalid, "%s: %s elements, want %d", d.spot(from, axis), has, d.field.Shape[axis]).
		WithHint("each row of %q has the shape %v", d.field.Name, d.field.Shape)
}

func (d *dest) invalid(i int, format string, args ...any) error {
	return fault.Newf(fault.Invalid, "%s: %s", d.spot(i, len(d.field.Shape)), fmt.Sprintf(format, args...))
}

func (d *dest) spot(index, axes int) spot { return spot{d.place, d.field.at(index, axes)} }
