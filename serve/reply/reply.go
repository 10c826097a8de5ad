// Package reply is how an answer is written to the wire: a value, a fault.
package reply

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/tftctl/tftctl/pkg/fault"
)

// Problem is the body of every answer that is not 2xx:
//
//	{"error":{"code":400,"kind":"Invalid","message":"instances[3]: ...","hint":"..."}}
//
// Code repeats the status, kind is for programs, message and hint are for people.
type Problem struct {
	Error Details `json:"error"`
}

// Details is what Problem holds.
type Details struct {
	Code    int    `json:"code"`
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// statuses is the table of docs/architecture.md, section 4. A kind that is not
// in it never leaves a server knowingly, so it is our mistake.
var statuses = map[fault.Kind]int{
	fault.Malformed:       http.StatusBadRequest,
	fault.Invalid:         http.StatusBadRequest,
	fault.TooLarge:        http.StatusRequestEntityTooLarge,
	fault.Stale:           http.StatusConflict,
	fault.Timeout:         http.StatusGatewayTimeout,
	fault.NotFound:        http.StatusNotFound,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Denied:          http.StatusForbidden,
	fault.Limited:         http.StatusTooManyRequests,
	fault.Unavailable:     http.StatusServiceUnavailable,
}

// Status returns the HTTP status of a kind.
func Status(k fault.Kind) int {
	if s, ok := statuses[k]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// noter is a ResponseWriter that wants to know why a request failed, for the log.
type noter interface{ Note(err error) }

// Error answers with err: its kind's status, its message and its hint, and
// nothing of what lies beneath, which goes to a ResponseWriter that has a
// method Note(error).
func Error(w http.ResponseWriter, r *http.Request, err error) {
	f := describe(err)
	refuse(w, Status(f.Kind), f, err)
}

// Refuse answers with a status that no kind has, such as 405, and err's text.
func Refuse(w http.ResponseWriter, r *http.Request, status int, err *fault.Error) {
	refuse(w, status, err, err)
}

func refuse(w http.ResponseWriter, status int, f *fault.Error, cause error) {
	if n, ok := w.(noter); ok {
		n.Note(cause)
	}
	if (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "1")
	}
	body, err := json.Marshal(Problem{Details{Code: status, Kind: f.Kind.String(), Message: f.Message, Hint: f.Hint}})
	if err != nil {
		panic(err) // strings and a number: they cannot fail to marshal
	}
	JSON(w, status, append(body, '\n'))
}

// JSON answers with a body that is JSON already.
func JSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // fails where the client has left: nobody is there to tell
}

// describe returns what a client may know of err.
func describe(err error) *fault.Error {
	var f *fault.Error
	switch {
	case errors.As(err, &f) && Status(f.Kind) != http.StatusInternalServerError:
		return &fault.Error{Kind: f.Kind, Message: f.Message, Hint: fault.HintOf(f)}
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Newf(fault.Timeout, "the answer took longer than this server waits for one")
	case errors.Is(err, context.Canceled):
		return fault.Newf(fault.Unavailable, "the request was given up before it was answered")
	}
	return fault.Newf(fault.Internal, "the server could not answer because of a mistake of its own").
		WithHint("the server's log tells more, under this answer's X-Request-Id")
}
