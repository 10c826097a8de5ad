// Package tensor is typed numbers in the shapes that a model's schema declares.
package tensor

import (
	"fmt"
	"unsafe"

	"github.com/tftctl/tftctl/pkg/model"
)

// Rows is some rows of a schema's inputs or outputs: typed views of memory that
// somebody else owns. It is small and copied freely; all copies see one memory.
type Rows struct {
	block    *block
	from, to int
}

// block is the whole memory: each tensor's rows lie one after the other.
type block struct {
	tensors  []model.Tensor
	elements []int // per row
	floats   [][]float32
	ints     [][]int64
}

// align is where each tensor begins: a cache line, and the widest vector register.
const align = 64

// Size returns the bytes that Over needs for rows rows of tensors.
func Size(tensors []model.Tensor, rows int) int {
	size := 0
	for _, t := range tensors {
		size += roundUp(t.Elements() * width(t.DType) * rows)
	}
	return size
}

// Over lays rows rows of tensors over memory, which stays the caller's and must
// outlive the result. Memory begins at a multiple of 64 bytes, as pages do.
func Over(tensors []model.Tensor, rows int, memory []byte) (Rows, error) {
	if need := Size(tensors, rows); rows < 1 || len(memory) < need {
		return Rows{}, fmt.Errorf("lay %d rows over %d bytes: want at least one row and %d bytes", rows, len(memory), need)
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(memory)))%align != 0 {
		return Rows{}, fmt.Errorf("lay rows over memory: it does not begin at a multiple of %d bytes", align)
	}
	b := &block{
		tensors:  tensors,
		elements: make([]int, len(tensors)),
		floats:   make([][]float32, len(tensors)),
		ints:     make([][]int64, len(tensors)),
	}
	for i, t := range tensors {
		n := t.Elements() * rows
		first := unsafe.Pointer(unsafe.SliceData(memory))
		switch t.DType {
		case model.Float32:
			b.floats[i] = unsafe.Slice((*float32)(first), n)
		case model.Int64:
			b.ints[i] = unsafe.Slice((*int64)(first), n)
		default:
			return Rows{}, fmt.Errorf("lay rows over memory: tensor %q has dtype %q", t.Name, t.DType)
		}
		b.elements[i] = t.Elements()
		memory = memory[roundUp(n*width(t.DType)):]
	}
	return Rows{block: b, to: rows}, nil
}

// New returns rows of tensors in memory of their own, for tests and small
// things. What a model computes on is allocated by its Predictor.
func New(tensors []model.Tensor, rows int) (Rows, error) {
	memory := make([]byte, Size(tensors, rows)+align)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(memory))) % align
	return Over(tensors, rows, memory[skip:])
}

// Len returns how many rows there are.
func (r Rows) Len() int { return r.to - r.from }

// Slice returns rows from to to-1 of r.
func (r Rows) Slice(from, to int) Rows {
	if from < 0 || to < from || to > r.Len() {
		panic(fmt.Sprintf("tensor: rows %d to %d of %d", from, to, r.Len()))
	}
	return Rows{block: r.block, from: r.from + from, to: r.from + to}
}

// Tensors returns what each row holds, in the schema's order. It is not to be changed.
func (r Rows) Tensors() []model.Tensor { return r.block.tensors }

// Float32 returns the elements of tensor i, row after row; nil where it is of
// another type.
func (r Rows) Float32(i int) []float32 {
	if r.block.floats[i] == nil {
		return nil
	}
	n := r.block.elements[i]
	return r.block.floats[i][r.from*n : r.to*n : r.to*n]
}

// Int64 returns the elements of tensor i, row after row; nil where it is of
// another type.
func (r Rows) Int64(i int) []int64 {
	if r.block.ints[i] == nil {
		return nil
	}
	n := r.block.elements[i]
	return r.block.ints[i][r.from*n : r.to*n : r.to*n]
}

func width(t model.DType) int {
	if t == model.Int64 {
		return 8
	}
	return 4
}

func roundUp(n int) int { return (n + align - 1) &^ (align - 1) }
