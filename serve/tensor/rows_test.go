package tensor_test

import (
	"testing"

	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/serve/tensor"
)

var tensors = []model.Tensor{
	{Name: "x", DType: model.Float32, Shape: []int{3, 2}},
	{Name: "id", DType: model.Int64, Shape: nil},
	{Name: "y", DType: model.Float32, Shape: []int{5}},
}

func TestCopiesSeeOneMemory(t *testing.T) {
	t.Parallel()
	rows, err := tensor.New(tensors, 4)
	if err != nil {
		t.Fatal(err)
	}
	middle := rows.Slice(1, 3)
	middle.Float32(0)[6] = 7 // row 2 of all, first element
	middle.Int64(1)[0] = 9   // row 1 of all
	if got := rows.Float32(0)[12]; got != 7 {
		t.Errorf("row 2 of x begins with %v, want 7", got)
	}
	if got := rows.Int64(1)[1]; got != 9 {
		t.Errorf("row 1 of id is %v, want 9", got)
	}
	if got, want := middle.Len(), 2; got != want {
		t.Errorf("Len = %d, want %d", got, want)
	}
	if rows.Int64(0) != nil || rows.Float32(1) != nil {
		t.Error("a tensor shows itself as a type that it is not of")
	}
}

func TestTensorsDoNotOverlap(t *testing.T) {
	t.Parallel()
	rows, err := tensor.New(tensors, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows.Float32(0) {
		rows.Float32(0)[i] = 1
	}
	for i := range rows.Int64(1) {
		rows.Int64(1)[i] = 2
	}
	for i := range rows.Float32(2) {
		rows.Float32(2)[i] = 3
	}
	for i, v := range rows.Float32(0) {
		if v != 1 {
			t.Fatalf("x[%d] = %v after the others were written, want 1", i, v)
		}
	}
	for i, v := range rows.Int64(1) {
		if v != 2 {
			t.Fatalf("id[%d] = %v after the others were written, want 2", i, v)
		}
	}
}

func TestTooLittleMemoryIsRefused(t *testing.T) {
	t.Parallel()
	for _, rows := range []int{0, 100} {
		if _, err := tensor.Over(tensors, rows, make([]byte, tensor.Size(tensors, 1))); err == nil {
			t.Errorf("%d rows were laid over the memory of one", rows)
		}
	}
}
