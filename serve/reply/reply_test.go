package reply_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/serve/reply"
)

func TestKindsHaveTheirStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		status int
		kind   string
	}{
		{fault.Newf(fault.Malformed, "x"), 400, "Malformed"},
		{fmt.Errorf("while reading: %w", fault.Newf(fault.Invalid, "x")), 400, "Invalid"},
		{fault.Newf(fault.TooLarge, "x"), 413, "TooLarge"},
		{fault.Newf(fault.NotFound, "x"), 404, "NotFound"},
		{fault.Newf(fault.Stale, "x"), 409, "Stale"},
		{fault.Newf(fault.Unauthenticated, "x"), 401, "Unauthenticated"},
		{fault.Newf(fault.Denied, "x"), 403, "Denied"},
		{fault.Newf(fault.Limited, "x"), 429, "Limited"},
		{fault.Newf(fault.Unavailable, "x"), 503, "Unavailable"},
		{fault.Newf(fault.Timeout, "x"), 504, "Timeout"},
		{context.DeadlineExceeded, 504, "Timeout"},
		{fault.Newf(fault.Corrupt, "x"), 500, "Internal"},
		{errors.New("x"), 500, "Internal"},
	} {
		w := httptest.NewRecorder()
		reply.Error(w, httptest.NewRequest(http.MethodGet, "/", nil), c.err)
		var got reply.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", w.Body, err)
		}
		if w.Code != c.status || got.Error.Code != c.status || got.Error.Kind != c.kind {
			t.Errorf("%v: status %d, %+v; want %d, %s", c.err, w.Code, got.Error, c.status, c.kind)
		}
		if retry := w.Header().Get("Retry-After"); (retry != "") != (c.status == 429 || c.status == 503) {
			t.Errorf("%v: Retry-After %q", c.err, retry)
		}
	}
}

// noting is a ResponseWriter that hears why.
type noting struct {
	*httptest.ResponseRecorder
	err error
}

func (n *noting) Note(err error) { n.err = err }

func TestWhatLiesBeneathGoesToTheLogAlone(t *testing.T) {
	t.Parallel()
	beneath := errors.New("dial 10.1.2.3: secret /etc/path")
	for _, err := range []error{
		beneath,
		fault.Wrap(fault.Internal, beneath, "the model could not be computed"),
		fault.Wrap(fault.Unavailable, beneath, "not now").WithHint("later"),
	} {
		w := &noting{ResponseRecorder: httptest.NewRecorder()}
		reply.Error(w, httptest.NewRequest(http.MethodGet, "/", nil), err)
		if strings.Contains(w.Body.String(), "10.1.2.3") {
			t.Errorf("%v: the answer shows what lies beneath: %s", err, w.Body)
		}
		if !errors.Is(w.err, beneath) {
			t.Errorf("%v: the log was told %v", err, w.err)
		}
	}
}
