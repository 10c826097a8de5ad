// Package predicttest is the contract of a Predictor, as a test suite.
package predicttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/serve/predict"
	"github.com/tftctl/tftctl/serve/tensor"
)

// Schema is the model that the suite predicts with: the output of a row is the
// sums of its two inputs, so that no two rows of the suite have the same.
func Schema() model.Schema {
	return model.Schema{
		Schema: model.SchemaSchema,
		Inputs: []model.Tensor{
			{Name: "x", DType: model.Float32, Shape: []int{3, 2}},
			{Name: "id", DType: model.Int64, Shape: []int{2}},
		},
		Outputs: []model.Tensor{
			{Name: "y", DType: model.Float32, Shape: []int{2}},
			{Name: "n", DType: model.Int64},
		},
	}
}

// Compute computes the suite's model over all rows of in.
func Compute(in, out tensor.Rows) {
	for row := range in.Len() {
		x, id := in.Float32(0)[row*6:], in.Int64(1)[row*2:]
		out.Float32(0)[row*2] = x[0] + x[2] + x[4]
		out.Float32(0)[row*2+1] = x[1] + x[3] + x[5]
		out.Int64(1)[row] = id[0] + id[1]
	}
}

// Run tests the Predictors that open makes over Schema and Compute, and closes
// each with the function that comes with it.
func Run(t *testing.T, open func(t *testing.T) (predict.Predictor, func() error)) {
	start := func(t *testing.T) predict.Predictor {
		p, stop := open(t)
		t.Cleanup(func() {
			if err := stop(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		return p
	}

	t.Run("answers rows in their order, however many", func(t *testing.T) {
		p := start(t)
		for _, n := range []int{1, 2, 7, 16, 17, 100} {
			if err := check(t.Context(), p, n, 1000*n); err != nil {
				t.Errorf("%d rows: %v", n, err)
			}
		}
	})

	t.Run("takes rows as the source gives them", func(t *testing.T) {
		p := start(t)
		in, out := &source{rows: 9, atOnce: 2}, &sink{}
		if err := p.Predict(t.Context(), in, out); err != nil {
			t.Fatal(err)
		}
		if err := same(out.got, want(9, 0)); err != nil {
			t.Error(err)
		}
	})

	t.Run("no rows, no results", func(t *testing.T) {
		p := start(t)
		out := &sink{}
		if err := p.Predict(t.Context(), &source{}, out); err != nil || out.taken != 0 {
			t.Errorf("%v, Take was called %d times; want no error and no call", err, out.taken)
		}
	})

	t.Run("callers do not see each other's rows", func(t *testing.T) {
		p := start(t)
		var callers sync.WaitGroup
		for caller := range 16 {
			callers.Go(func() {
				for range 10 {
					if err := check(t.Context(), p, 1+caller*3, caller*10_000); err != nil {
						t.Errorf("caller %d: %v", caller, err)
					}
				}
			})
		}
		callers.Wait()
	})

	t.Run("an error of one caller is that caller's alone", func(t *testing.T) {
		p := start(t)
		broken := errors.New("broken")
		var callers sync.WaitGroup
		for caller := range 12 {
			callers.Go(func() {
				in, out := &source{rows: 40, base: caller * 1000}, &sink{}
				switch caller % 3 {
				case 0:
					in.err = broken
				case 1:
					out.err = broken
				}
				err := p.Predict(t.Context(), in, out)
				switch {
				case caller%3 == 2:
					if err := errors.Join(err, same(out.got, want(40, caller*1000))); err != nil {
						t.Errorf("caller %d, who did nothing wrong: %v", caller, err)
					}
				case !errors.Is(err, broken):
					t.Errorf("caller %d: got %v, want its own error back", caller, err)
				}
			})
		}
		callers.Wait()
		if err := check(t.Context(), p, 3, 7); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})

	t.Run("a caller who has left is told why", func(t *testing.T) {
		p := start(t)
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(gone)
		if err := p.Predict(ctx, &source{rows: 1000}, &sink{}); !errors.Is(err, gone) {
			t.Errorf("got %v, want the cause", err)
		}
	})

	t.Run("a caller who waits may leave", func(t *testing.T) {
		p := start(t)
		// Hold whatever the Predictor computes on, as long as others come in.
		release, holders := make(chan struct{}), sync.WaitGroup{}
		for range 64 {
			holders.Go(func() {
				if err := p.Predict(t.Context(), &source{rows: 1, wait: release}, &sink{}); err != nil {
					t.Errorf("holder: %v", err)
				}
			})
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { left <- p.Predict(ctx, &source{rows: 1, wait: release}, &sink{}) }()
		cancel()
		// It either waits, and leaves, or it holds something and goes on when released.
		close(release)
		if err := <-left; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want no error or context.Canceled", err)
		}
		holders.Wait()
	})

	t.Run("closed, it is unavailable", func(t *testing.T) {
		p, stop := open(t)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if err := p.Predict(t.Context(), &source{rows: 1}, &sink{}); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("got %v, want Unavailable", err)
		}
	})
}

// check predicts n rows that begin with base and compares the answers.
func check(ctx context.Context, p predict.Predictor, n, base int) error {
	out := &sink{}
	if err := p.Predict(ctx, &source{rows: n, base: base}, out); err != nil {
		return err
	}
	return same(out.got, want(n, base))
}

// same returns an error where answers are not the wanted ones.
func same(got, want []result) error {
	if slices.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("got the answers %v, want %v", got, want)
}

// result is the answer to one row.
type result struct {
	Y [2]float32
	N int64
}

// want returns the answers to n rows that begin with base.
func want(n, base int) []result {
	var out []result
	for i := range n {
		v := float32(base + i)
		out = append(out, result{Y: [2]float32{3 * v, 6 * v}, N: int64(base+i) + 1})
	}
	return out
}

// source gives rows whose elements follow from their number.
type source struct {
	rows, base int
	atOnce     int             // at most so many; 0: as many as there is room
	err        error           // comes after the first rows
	wait       <-chan struct{} // before each Fill
	given      int
}

func (s *source) Fill(room tensor.Rows) (int, error) {
	if s.wait != nil {
		<-s.wait
	}
	if s.err != nil && s.given > 0 {
		return 0, s.err
	}
	n := min(room.Len(), s.rows-s.given)
	if s.atOnce > 0 {
		n = min(n, s.atOnce)
	}
	for row := range n {
		v := s.base + s.given + row
		for step := range 3 {
			room.Float32(0)[row*6+step*2] = float32(v)
			room.Float32(0)[row*6+step*2+1] = float32(2 * v)
		}
		room.Int64(1)[row*2] = int64(v)
		room.Int64(1)[row*2+1] = 1
	}
	s.given += n
	return n, nil
}

// sink keeps what it is given.
type sink struct {
	got   []result
	err   error
	taken int
}

func (s *sink) Take(rows tensor.Rows) error {
	s.taken++
	if s.err != nil {
		return s.err
	}
	for row := range rows.Len() {
		s.got = append(s.got, result{Y: [2]float32(rows.Float32(0)[row*2:]), N: rows.Int64(1)[row]})
	}
	return nil
}
