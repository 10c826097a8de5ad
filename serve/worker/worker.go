// Package worker is a Predictor that computes on lanes: each has its own memory
// and its own thread, and a runtime that knows both.
package worker

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/serve/predict"
	"github.com/tftctl/tftctl/serve/tensor"
)

// Runtime computes a model on the lanes that it was opened with.
type Runtime interface {
	// Run computes the first rows rows of lane. It is called from a lane's own
	// thread, for one lane once at a time, for several lanes at the same time.
	Run(lane, rows int) error
	// Close frees what the Runtime holds. No Run is going on, none follows.
	Close() error
}

// Open opens a Runtime that computes lane i from in[i] to out[i]. The memory
// stays where it is, outside Go's heap, until the Runtime is closed.
type Open func(in, out []tensor.Rows) (Runtime, error)

// Options say how much a Worker does at once.
type Options struct {
	Lanes int // runs at the same time; 0: as many as Go uses processors
	Chunk int // rows in one run at most; 0: 16, past which a forecaster's intermediates leave the cache
}

// Worker computes in this process.
type Worker struct {
	schema  model.Schema
	runtime Runtime
	memory  []byte
	free    chan *lane // the lanes that nobody uses
	closing chan struct{}
	close   sync.Once
	threads sync.WaitGroup
	lanes   int
}

var _ predict.Predictor = (*Worker)(nil)

// lane is memory for one chunk and the thread that computes on it.
type lane struct {
	in, out tensor.Rows
	rows    chan int   // how many to compute
	ran     chan error // what came of it
}

// New returns a Worker over the model that open opens. Who made it closes it.
func New(schema model.Schema, o Options, open Open) (*Worker, error) {
	if o.Lanes == 0 {
		o.Lanes = runtime.GOMAXPROCS(0)
	}
	if o.Chunk == 0 {
		o.Chunk = 16
	}
	memory, in, out, err := allocate(schema, o)
	if err != nil {
		return nil, fmt.Errorf("allocate %d lanes of %d rows: %w", o.Lanes, o.Chunk, err)
	}
	opened, err := open(in, out)
	if err != nil {
		release(memory)
		return nil, err
	}
	w := &Worker{
		schema:  schema,
		runtime: opened,
		memory:  memory,
		free:    make(chan *lane, o.Lanes),
		closing: make(chan struct{}),
		lanes:   o.Lanes,
	}
	for i := range o.Lanes {
		l := &lane{in: in[i], out: out[i], rows: make(chan int), ran: make(chan error)}
		w.threads.Go(func() { w.compute(i, l) })
		w.free <- l
	}
	return w, nil
}

// compute runs lane l until its channel is closed. A run is a foreign call of
// milliseconds, so it has a thread of its own and no request's goroutine waits in one.
func (w *Worker) compute(number int, l *lane) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for rows := range l.rows {
		l.ran <- w.runtime.Run(number, rows)
	}
}

// Predict fills a lane, computes it and hands the results on, chunk by chunk.
func (w *Worker) Predict(ctx context.Context, in predict.Source, out predict.Sink) error {
	l, err := w.take(ctx)
	if err != nil {
		return err
	}
	defer func() { w.free <- l }()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rows, err := in.Fill(l.in)
		if err != nil {
			return err
		}
		if rows == 0 {
			return nil
		}
		l.rows <- rows
		if err := <-l.ran; err != nil { // not cut short: the memory is in use until the run ends
			return fault.Wrap(fault.Internal, err, "the model could not be computed")
		}
		if err := out.Take(l.out.Slice(0, rows)); err != nil {
			return err
		}
	}
}

// take waits for a lane.
func (w *Worker) take(ctx context.Context) (*lane, error) {
	select { // a closed worker says so, even where a lane is free
	case <-w.closing:
		return nil, errClosed()
	default:
	}
	select {
	case l := <-w.free:
		return l, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-w.closing:
		return nil, errClosed()
	}
}

func errClosed() error {
	return fault.Newf(fault.Unavailable, "the model is being taken out of service")
}

// Close refuses whoever waits, waits for whoever computes, and frees everything.
func (w *Worker) Close() error {
	err := error(nil)
	w.close.Do(func() {
		close(w.closing)
		for range w.lanes {
			close((<-w.free).rows)
		}
		w.threads.Wait()
		err = w.runtime.Close()
		release(w.memory)
	})
	return err
}
