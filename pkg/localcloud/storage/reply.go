package storage

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// reply is the answer to a request that was done.
type reply struct {
	status int // 0: 200 with a body, 204 without
	header http.Header
	body   any           // written as JSON
	stream io.ReadCloser // or written as it is, length bytes unless length is -1
	length int64
}

func (a *reply) write(w http.ResponseWriter, r *http.Request) {
	if a.stream != nil {
		defer a.stream.Close()
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	switch {
	case a.stream != nil:
		if a.length >= 0 {
			w.Header().Set("Content-Length", strconv.FormatInt(a.length, 10))
		}
		w.WriteHeader(cmp.Or(a.status, http.StatusOK))
		if r.Method != http.MethodHead {
			// A reader that went away is no fault of ours, and a file that cannot
			// be read further shows as a body that ends too early.
			_, _ = io.Copy(w, a.stream)
		}
	case a.body != nil:
		text, err := json.MarshalIndent(a.body, "", "  ")
		if err != nil {
			panic(fmt.Sprintf("a resource that is not JSON: %v", err)) // maps and strings always are
		}
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
		w.WriteHeader(cmp.Or(a.status, http.StatusOK))
		if r.Method != http.MethodHead {
			_, _ = w.Write(append(text, '\n'))
		}
	default:
		w.Header().Set("Content-Length", "0")
		if status := cmp.Or(a.status, http.StatusNoContent); status == http.StatusNoContent {
			w.Header().Del("Content-Length")
			w.WriteHeader(status)
		} else {
			w.WriteHeader(status)
		}
	}
}

// refusal is the answer to a request that was not done.
type refusal struct {
	code    int
	reason  string
	message string
	header  http.Header
}

func (e *refusal) Error() string { return e.message }

func refuse(code int, reason, format string, args ...any) *refusal {
	return &refusal{code: code, reason: reason, message: fmt.Sprintf(format, args...)}
}

func badRequest(reason, format string, args ...any) *refusal {
	return refuse(http.StatusBadRequest, reason, format, args...)
}

// notImplemented says what Google can do and this server cannot. It is a 400:
// the clients repeat a 501 until their time is up.
func notImplemented(format string, args ...any) *refusal {
	return badRequest("notImplemented", "the local cloud does not implement "+format, args...)
}

func conditionNotMet(format string, args ...any) *refusal {
	return refuse(http.StatusPreconditionFailed, "conditionNotMet", format, args...)
}

func noBucket(bucket string) *refusal {
	return refuse(http.StatusNotFound, "notFound", "bucket %s does not exist", bucket)
}

func noObject(bucket, object string) *refusal {
	return refuse(http.StatusNotFound, "notFound", "no such object: %s/%s", bucket, object)
}

// xmlCodes are the names that the XML API has for the same answers.
var xmlCodes = map[int]string{
	http.StatusBadRequest: "InvalidArgument", http.StatusForbidden: "AccessDenied", http.StatusNotFound: "NoSuchKey",
	http.StatusConflict: "Conflict", http.StatusPreconditionFailed: "PreconditionFailed",
	http.StatusRequestedRangeNotSatisfiable: "InvalidRange", http.StatusInternalServerError: "InternalError",
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error, asXML bool) {
	var no *refusal
	if !errors.As(err, &no) {
		s.log.ErrorContext(r.Context(), "a storage request failed inside", "method", r.Method, "path", r.URL.Path, "error", err)
		no = refuse(http.StatusInternalServerError, "backendError", "the local cloud could not do this; its log says why")
	}
	for name, values := range no.header {
		w.Header()[name] = values
	}
	if no.code == http.StatusNotModified {
		w.WriteHeader(no.code) // it has no body
		return
	}
	var text []byte
	if asXML {
		w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
		text, _ = xml.Marshal(struct {
			XMLName xml.Name `xml:"Error"`
			Code    string
			Message string
		}{Code: xmlCodes[no.code], Message: no.message}) // strings are always XML
		text = append([]byte("<?xml version='1.0' encoding='UTF-8'?>"), text...)
	} else {
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		text, _ = json.Marshal(map[string]any{"error": map[string]any{ // strings are always JSON
			"code":    no.code,
			"message": no.message,
			"errors":  []any{map[string]any{"domain": "global", "reason": no.reason, "message": no.message}},
		}})
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(no.code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text)
	}
}
