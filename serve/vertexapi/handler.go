// Package vertexapi is Vertex AI's prediction protocol: {"instances":[...]} in,
// {"predictions":[...]} out.
package vertexapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/serve/codec"
	"github.com/tftctl/tftctl/serve/predict"
	"github.com/tftctl/tftctl/serve/reply"
)

// ModelHeader names the model that answered.
const ModelHeader = "X-Tft-Model"

// handler answers predict requests.
type handler struct {
	models  predict.Finder
	codecs  atomic.Pointer[codecs] // of the model that answered last
	buffers sync.Pool              // of *[]byte
}

// codecs are the two sides of one model's schema, compiled.
type codecs struct {
	model   *predict.Model
	in, out *codec.Codec
}

// Handler answers predict requests with what models finds. The body is read in
// full before anything is queued, so a slow client holds nothing that others
// wait for; whoever wraps the handler bounds the body's size.
func Handler(models predict.Finder) http.Handler {
	return &handler{models: models, buffers: sync.Pool{New: func() any { return new([]byte) }}}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	served, done, err := h.models.Find("", "")
	if err != nil {
		reply.Error(w, r, err)
		return
	}
	defer done()
	w.Header().Set(ModelHeader, served.String())

	body, answer := h.buffers.Get().(*[]byte), h.buffers.Get().(*[]byte)
	defer func() {
		h.buffers.Put(body)
		h.buffers.Put(answer)
	}()
	if *body, err = read(r, (*body)[:0]); err != nil {
		w.Header().Set("Connection", "close") // what is left of the body is not the next request
		reply.Error(w, r, err)
		return
	}
	c, err := h.compiled(served)
	if err != nil {
		reply.Error(w, r, err)
		return
	}
	if *answer, err = c.predict(r.Context(), *body, (*answer)[:0]); err != nil {
		reply.Error(w, r, err)
		return
	}
	reply.JSON(w, http.StatusOK, *answer)
}

// Predict answers one request body without a server around it: {"instances":[...]}
// in, {"predictions":[...]} out. Errors are those that a client would get.
func Predict(ctx context.Context, m *predict.Model, body []byte) ([]byte, error) {
	c, err := compile(m)
	if err != nil {
		return nil, err
	}
	return c.predict(ctx, body, nil)
}

// compiled returns the codecs of m. Mostly the last request had the same model.
func (h *handler) compiled(m *predict.Model) (*codecs, error) {
	if c := h.codecs.Load(); c != nil && c.model == m {
		return c, nil
	}
	c, err := compile(m)
	if err == nil {
		h.codecs.Store(c)
	}
	return c, err
}

func compile(m *predict.Model) (*codecs, error) {
	in, err := codec.Compile(m.Schema.Inputs)
	if err != nil {
		return nil, err
	}
	out, err := codec.Compile(m.Schema.Outputs)
	if err != nil {
		return nil, err
	}
	return &codecs{model: m, in: in, out: out}, nil
}

// predict appends the answer of body to answer.
func (c *codecs) predict(ctx context.Context, body, answer []byte) ([]byte, error) {
	in, out := newSource(c.in, body), &sink{codec: c.out, body: answer}
	err := c.model.Predictor.Predict(ctx, in, out)
	return out.finish(), err
}

// read appends r's body to b.
func read(r *http.Request, b []byte) ([]byte, error) {
	if n := r.ContentLength; n > int64(cap(b)) && n <= roomAhead {
		b = make([]byte, 0, n+1) // one more, so that the end is seen without growing
	}
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)] // grows as append does
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		var tooLong *http.MaxBytesError
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return b, nil
		case errors.As(err, &tooLong):
			return b, fault.Newf(fault.TooLarge, "the request body is over %d bytes", tooLong.Limit).
				WithHint("send fewer instances in a request")
		default:
			return b, fault.Wrap(fault.Malformed, err, "the request body could not be read to its end")
		}
	}
}

// roomAhead is how much memory a mere announcement of a length may claim.
const roomAhead = 1 << 20
