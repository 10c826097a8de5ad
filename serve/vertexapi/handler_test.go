package vertexapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/serve/predict"
	"github.com/tftctl/tftctl/serve/predict/predicttest"
	"github.com/tftctl/tftctl/serve/reply"
	"github.com/tftctl/tftctl/serve/tensor"
	"github.com/tftctl/tftctl/serve/vertexapi"
)

// chunks computes the suite's model, chunk rows at a time, and counts its runs.
type chunks struct {
	chunk int
	mu    sync.Mutex
	runs  int
}

func (c *chunks) Predict(ctx context.Context, in predict.Source, out predict.Sink) error {
	room, err := tensor.New(predicttest.Schema().Inputs, c.chunk)
	if err != nil {
		return err
	}
	results, err := tensor.New(predicttest.Schema().Outputs, c.chunk)
	if err != nil {
		return err
	}
	for {
		n, err := in.Fill(room)
		if n == 0 || err != nil {
			return err
		}
		c.mu.Lock()
		c.runs++
		c.mu.Unlock()
		predicttest.Compute(room.Slice(0, n), results.Slice(0, n))
		if err := out.Take(results.Slice(0, n)); err != nil {
			return err
		}
	}
}

// only finds one model, or fails.
type only struct {
	model *predict.Model
	err   error
}

func (o only) Find(string, string) (*predict.Model, func(), error) { return o.model, func() {}, o.err }

func serving(c *chunks) http.Handler {
	return vertexapi.Handler(only{model: &predict.Model{
		Name: "sums", Digest: model.DigestOf([]byte("x")), Schema: predicttest.Schema(), Predictor: c,
	}})
}

// ask posts body and returns the answer.
func ask(h http.Handler, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/predict", strings.NewReader(body)))
	return w
}

// instance is the text of a row whose elements follow from v.
func instance(v int) string {
	return fmt.Sprintf(`{"x":[[%d,%d],[%d,%d],[%d,%d]],"id":[%d,1]}`, v, 2*v, v, 2*v, v, 2*v, v)
}

func TestInstancesBecomePredictionsInTheirOrder(t *testing.T) {
	t.Parallel()
	for _, rows := range []int{1, 4, 5, 23} {
		var list []string
		for i := range rows {
			list = append(list, instance(i))
		}
		w := ask(serving(&chunks{chunk: 4}), `{"instances":[`+strings.Join(list, ",")+`],"parameters":{}}`)
		var got struct {
			Predictions []struct {
				Y []float32
				N int
			}
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d rows: status %d, %v: %s", rows, w.Code, err, w.Body)
		}
		if len(got.Predictions) != rows {
			t.Errorf("%d rows: %d predictions", rows, len(got.Predictions))
		}
		for i, p := range got.Predictions {
			if p.N != i+1 || p.Y[0] != float32(3*i) || p.Y[1] != float32(6*i) {
				t.Errorf("%d rows: prediction %d is %+v", rows, i, p)
			}
		}
		if got, want := w.Header().Get(vertexapi.ModelHeader), "sums@sha256:2d711642b726"; got != want {
			t.Errorf("%s is %q, want %q", vertexapi.ModelHeader, got, want)
		}
	}
}

func TestParametersMayStandInFront(t *testing.T) {
	t.Parallel()
	if w := ask(serving(&chunks{chunk: 4}), ` {"parameters": { } , "instances":[`+instance(1)+`]} `); w.Code != http.StatusOK {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

func TestBadRequestsAreRefusedAtTheirPlaceBeforeAnyRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, kind, want string }{
		"empty body":          {``, "Malformed", "the request: the JSON text ends too soon"},
		"no object":           {`[]`, "Invalid", "the request: want an object, found an array"},
		"no instances":        {`{}`, "Invalid", `the name "instances" is missing`},
		"no list":             {`{"instances":{}}`, "Invalid", "instances: want an array, found an object"},
		"empty list":          {`{"instances":[]}`, "Invalid", "instances: the array is empty"},
		"instances twice":     {`{"instances":[` + instance(1) + `],"instances":[` + instance(2) + `]}`, "Invalid", `the name "instances" is there twice`},
		"unknown name":        {`{"instances":[` + instance(1) + `],"signature_name":"x"}`, "Invalid", `unknown name "signature_name"`},
		"name in other case":  {`{"Instances":[` + instance(1) + `]}`, "Invalid", `unknown name "Instances"`},
		"parameters":          {`{"parameters":{"digits":6},"instances":[` + instance(1) + `]}`, "Invalid", "parameters: this model takes none"},
		"parameters null":     {`{"parameters":null,"instances":[` + instance(1) + `]}`, "Invalid", "parameters: want an object, found null"},
		"parameters behind":   {`{"instances":[` + instance(1) + `],"parameters":{"digits":6}}`, "Invalid", "parameters: this model takes none"},
		"something behind":    {`{"instances":[` + instance(1) + `]} {}`, "Malformed", "byte"},
		"cut off":             {`{"instances":[` + instance(1), "Malformed", "instances: the JSON text ends too soon"},
		"second row bad name": {`{"instances":[` + instance(1) + `,{"y":1}]}`, "Invalid", `instances[1]: unknown name "y"`},
		"second row bad type": {`{"instances":[` + instance(1) + `,{"id":[1,1.5]}]}`, "Invalid", "instances[1].id[1]: 1.5 has a fraction"},
		"second row shape":    {`{"instances":[` + instance(1) + `,{"id":[1]}]}`, "Invalid", "instances[1].id: has 1 elements, want 2"},
		"second row NaN":      {`{"instances":[` + instance(1) + `,{"x":[[1,NaN]]}]}`, "Invalid", "instances[1].x[0][1]: NaN is not a finite number"},
		"trailing comma":      {`{"instances":[` + instance(1) + `,]}`, "Malformed", "instances[1]: byte"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runs := &chunks{chunk: 4}
			w := ask(serving(runs), c.body)
			var got reply.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatalf("%s: %v", w.Body, err)
			}
			if w.Code != http.StatusBadRequest || got.Error.Kind != c.kind || !strings.HasPrefix(got.Error.Message, c.want) {
				t.Errorf("status %d, %+v; want 400, %s, %q", w.Code, got.Error, c.kind, c.want)
			}
			if runs.runs != 0 {
				t.Errorf("the model ran %d times for a request that was refused", runs.runs)
			}
		})
	}
}

func TestBodyThatBreaksOffIsRefused(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/predict", iotest.ErrReader(errors.New("reset by 10.0.0.1")))
	serving(&chunks{chunk: 4}).ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "10.0.0.1") || w.Header().Get("Connection") != "close" {
		t.Errorf("status %d, Connection %q: %s", w.Code, w.Header().Get("Connection"), w.Body)
	}
}

func TestNoModelIsUnavailable(t *testing.T) {
	t.Parallel()
	w := ask(vertexapi.Handler(only{err: fault.Newf(fault.Unavailable, "no model is loaded yet")}), `{}`)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", w.Code)
	}
}
