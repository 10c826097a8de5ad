package worker_test

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/serve/predict"
	"github.com/tftctl/tftctl/serve/predict/predicttest"
	"github.com/tftctl/tftctl/serve/tensor"
	"github.com/tftctl/tftctl/serve/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inGo is a Runtime in a few lines of Go.
type inGo struct {
	in, out []tensor.Rows
	fail    error
}

func (r *inGo) Run(lane, rows int) error {
	predicttest.Compute(r.in[lane].Slice(0, rows), r.out[lane].Slice(0, rows))
	return r.fail
}

func (r *inGo) Close() error { return nil }

func TestWorkerIsAPredictor(t *testing.T) {
	for _, o := range []worker.Options{{Lanes: 1, Chunk: 1}, {Lanes: 2, Chunk: 8}, {}} {
		predicttest.Run(t, func(t *testing.T) (predict.Predictor, func() error) {
			w, err := worker.New(predicttest.Schema(), o, func(in, out []tensor.Rows) (worker.Runtime, error) {
				return &inGo{in: in, out: out}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return w, w.Close
		})
	}
}

func TestModelThatDoesNotOpenIsReported(t *testing.T) {
	want := errors.New("no model")
	_, err := worker.New(predicttest.Schema(), worker.Options{}, func(in, out []tensor.Rows) (worker.Runtime, error) {
		return nil, want
	})
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// one is a Source of a single row.
type one struct{ given bool }

func (s *one) Fill(room tensor.Rows) (int, error) {
	if s.given {
		return 0, nil
	}
	s.given = true
	return 1, nil
}

// nowhere is a Sink that must not be asked.
type nowhere struct{ t *testing.T }

func (s nowhere) Take(tensor.Rows) error {
	s.t.Error("results were handed out that nobody computed")
	return nil
}

func TestRunThatFailsIsOurMistakeAndTheLaneGoesOn(t *testing.T) {
	beneath := errors.New("some address 0x1234")
	var opened *inGo
	w, err := worker.New(predicttest.Schema(), worker.Options{Lanes: 1, Chunk: 1}, func(in, out []tensor.Rows) (worker.Runtime, error) {
		opened = &inGo{in: in, out: out, fail: beneath}
		return opened, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // more often than there are lanes
		err := w.Predict(t.Context(), &one{}, nowhere{t})
		if fault.KindOf(err) != fault.Internal || !errors.Is(err, beneath) {
			t.Errorf("got %v, want Internal with what lies beneath", err)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}
