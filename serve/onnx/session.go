package onnx

import (
	"errors"
	"fmt"
	"path/filepath"

	ort "github.com/yalue/onnxruntime_go"
	"golang.org/x/sync/errgroup"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/serve/tensor"
)

// Session computes one model on the lanes that it was opened with.
type Session struct {
	session *ort.DynamicAdvancedSession
	lanes   []lane
}

// lane is the memory of one lane as ONNX Runtime sees it.
type lane struct {
	in, out tensor.Rows
	sets    []*set // by number of rows less one; made when first needed, then kept
}

// set is the tensors for one number of rows, over a lane's memory.
type set struct{ in, out []ort.Value }

// Open opens the model file at path. It computes lane i from in[i] to out[i],
// whose memory ONNX Runtime keeps pointers into until Close: it must lie outside
// Go's heap. Load comes first.
//
// Errors: Corrupt for a file that is no model, and for a model whose inputs and
// outputs are not schema's.
func Open(path string, schema model.Schema, in, out []tensor.Rows) (*Session, error) {
	// The two read the same file and cost about the same: starting is faster
	// when they do it at the same time. Nothing runs before both are content.
	s := &Session{}
	var both errgroup.Group
	both.Go(func() error { return checkGraph(path, schema) })
	both.Go(func() (err error) {
		s.session, err = newSession(path, schema)
		return err
	})
	if err := both.Wait(); err != nil {
		if s.session != nil {
			err = errors.Join(err, s.session.Destroy())
		}
		return nil, err
	}
	for i := range in {
		s.lanes = append(s.lanes, lane{in: in[i], out: out[i], sets: make([]*set, in[i].Len())})
	}
	return s, nil
}

// newSession opens the model file with the tuned options.
func newSession(path string, schema model.Schema) (*ort.DynamicAdvancedSession, error) {
	options, err := tuned()
	if err != nil {
		return nil, fmt.Errorf("set ONNX Runtime's options: %w", err)
	}
	defer options.Destroy() //nolint:errcheck // it frees memory and returns nil
	session, err := ort.NewDynamicAdvancedSession(path, names(schema.Inputs), names(schema.Outputs), options)
	if err != nil {
		return nil, unloadable(path, err)
	}
	return session, nil
}

// tuned returns the options under which forecasters run fastest on shared
// processors. A misspelt key is accepted in silence: a test proves the fusion's
// by the graph that is run.
func tuned() (*ort.SessionOptions, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	// Parallelism lies between runs, a lane each: inside one it costs more than
	// it gives. Spinning would burn billed processor time after every request.
	// SkipLayerNormFusion puts a slow kernel in the place of two fast ones.
	err = errors.Join(
		o.SetIntraOpNumThreads(1),
		o.SetInterOpNumThreads(1),
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
		o.AddSessionConfigEntry("session.inter_op.allow_spinning", "0"),
		o.AddSessionConfigEntry("optimization.disable_specified_optimizers", "SkipLayerNormFusion"),
	)
	if err != nil {
		return nil, errors.Join(err, o.Destroy())
	}
	return o, nil
}

// Run computes the first rows rows of lane number.
func (s *Session) Run(number, rows int) error {
	l := &s.lanes[number]
	if l.sets[rows-1] == nil {
		made, err := newSet(l.in, l.out, rows)
		if err != nil {
			return err
		}
		l.sets[rows-1] = made
	}
	return s.session.Run(l.sets[rows-1].in, l.sets[rows-1].out)
}

// Close frees the session and its views of the lanes' memory.
func (s *Session) Close() error {
	for _, l := range s.lanes {
		for _, made := range l.sets {
			made.destroy()
		}
	}
	return s.session.Destroy()
}

// newSet returns the tensors over the first rows rows of in and out.
func newSet(in, out tensor.Rows, rows int) (*set, error) {
	made := &set{}
	for _, side := range []struct {
		rows   tensor.Rows
		values *[]ort.Value
	}{{in.Slice(0, rows), &made.in}, {out.Slice(0, rows), &made.out}} {
		for i, t := range side.rows.Tensors() {
			v, err := value(side.rows, i, t)
			if err != nil {
				made.destroy()
				return nil, fmt.Errorf("make tensor %q of %d rows: %w", t.Name, rows, err)
			}
			*side.values = append(*side.values, v)
		}
	}
	return made, nil
}

// value returns tensor i of rows as ONNX Runtime sees it.
func value(rows tensor.Rows, i int, t model.Tensor) (ort.Value, error) {
	shape := ort.NewShape(int64(rows.Len()))
	for _, d := range t.Shape {
		shape = append(shape, int64(d))
	}
	if t.DType == model.Int64 {
		return ort.NewTensor(shape, rows.Int64(i))
	}
	return ort.NewTensor(shape, rows.Float32(i))
}

func (s *set) destroy() {
	if s == nil {
		return
	}
	for _, v := range append(s.in, s.out...) {
		v.Destroy() //nolint:errcheck // it frees memory and returns nil
	}
}

func names(tensors []model.Tensor) []string {
	var out []string
	for _, t := range tensors {
		out = append(out, t.Name)
	}
	return out
}

func unloadable(path string, err error) error {
	return fault.Wrap(fault.Corrupt, err, "%s is not a model that ONNX Runtime %s can load", filepath.Base(path), ort.GetVersion()).
		WithHint("the file is damaged, cut off, or needs a newer ONNX Runtime: export the model again and push it as a new version")
}
