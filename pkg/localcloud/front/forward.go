package front

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// MostBody is how large a request may be, as at Cloud Run for HTTP/1.
const MostBody = 32 << 20

// mostPending is how long a request waits for a backend that starts or restarts;
// Google's is at least this.
const mostPending = 10 * time.Second

// ReleaseHeader is the answer's header that the request log keeps.
const ReleaseHeader = "X-Tft-Release"

// Request is what is sent to a backend. The body is whole, so that it can be
// sent again to a backend that never saw it.
type Request struct {
	Method string
	Path   string // with its query, as it is on the wire
	Host   string // empty: the backend's address
	Header http.Header
	Body   []byte
}

// Answer is what a backend said.
type Answer struct {
	Target Target
	Status int
	Header http.Header
	Body   []byte
}

// Unanswered is an error for a request that no backend has answered.
type Unanswered struct {
	Backend string // empty if none was picked
	Status  int    // what an HTTP caller is told: 404, 429, 502, 503 or 504
	Beneath error
}

func (e *Unanswered) Error() string {
	if e.Backend == "" {
		return e.Beneath.Error()
	}
	return fmt.Sprintf("%s did not answer: %v", e.Backend, e.Beneath)
}

func (e *Unanswered) Unwrap() error { return e.Beneath }

// ErrTooLarge is what Call returns for an answer over its limit.
var ErrTooLarge = errors.New("the answer is too large")

// Call forwards one request along the route with that key and returns the whole
// answer.
//
// Errors: *Unanswered; ErrTooLarge if the answer's body is over most bytes, with
// the Answer but for its body.
func (f *Front) Call(ctx context.Context, key string, req Request, most int64) (*Answer, error) {
	began := time.Now()
	entry := Entry{Time: began, Method: req.Method, Agent: req.Header.Get("User-Agent")}
	route, err := f.route(key)
	if err != nil {
		return nil, f.unanswered(&entry, "", http.StatusNotFound, err)
	}
	var answer *Answer
	err = f.forward(ctx, route, req, &entry, func(target Target, res *http.Response) error {
		body, err := io.ReadAll(io.LimitReader(res.Body, most+1))
		if err != nil {
			return err
		}
		answer = &Answer{Target: target, Status: res.StatusCode, Header: res.Header, Body: body}
		f.write(&entry)
		if int64(len(body)) > most {
			answer.Body = nil
			return ErrTooLarge
		}
		return nil
	})
	return answer, err
}

// ServeHTTP forwards a caller's request along the route of its host or path.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	entry := Entry{Time: time.Now(), Method: r.Method, Path: r.URL.Path, Agent: r.UserAgent()}
	route, path, ok := f.find(r.Host, r.URL.EscapedPath())
	if !ok || reserved(path) {
		reply(w, f.unanswered(&entry, "", http.StatusNotFound, ErrNoRoute))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MostBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		reply(w, f.unanswered(&entry, "", http.StatusRequestEntityTooLarge, fmt.Errorf("the body is over %d bytes", MostBody)))
		return
	} else if err != nil {
		return // the caller went away before the request was whole
	}
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	req := Request{Method: r.Method, Path: path, Host: r.Host, Header: forwardedHeader(r), Body: body}
	err = f.forward(r.Context(), route, req, &entry, func(_ Target, res *http.Response) error {
		return f.relay(w, res, &entry)
	})
	if gone := new(Unanswered); errors.As(err, &gone) {
		reply(w, gone)
	} else if err != nil {
		panic(http.ErrAbortHandler) // the answer broke off: so must the caller's
	}
}

// mostHeld is how much of an answer is read before any of it is passed on. An
// answer that fits is in the log before its caller has it, so that who has seen
// n answers finds n lines.
const mostHeld = 1 << 20

// relay passes a backend's answer on.
func (f *Front) relay(w http.ResponseWriter, res *http.Response, entry *Entry) error {
	whole := res.ContentLength >= 0 && res.ContentLength <= mostHeld
	var held []byte
	if whole {
		var err error
		if held, err = io.ReadAll(res.Body); err != nil {
			return err
		}
		f.write(entry)
	}
	header := w.Header()
	for name, values := range res.Header {
		header[name] = values
	}
	removeHopByHop(header)
	header.Set("Server", "Google Frontend")
	w.WriteHeader(res.StatusCode)
	if whole {
		_, _ = w.Write(held) // a caller that is gone has been answered as well as can be
		return nil
	}
	err := stream(w, res.Body)
	if err != nil {
		entry.Status = 0
	}
	f.write(entry)
	return err
}

// stream copies as it comes. Only a backend that breaks off is an error.
func stream(w http.ResponseWriter, from io.Reader) error {
	flush := http.NewResponseController(w)
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, gone := w.Write(buffer[:n]); gone != nil {
				return nil //nolint:nilerr // nobody is left to answer, which is no fault of the backend
			}
			_ = flush.Flush() // what cannot be flushed is sent at the end
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// forward sends req to a target of route and hands the answer to take, which
// writes the entry once the answer is whole.
func (f *Front) forward(ctx context.Context, route *live, req Request, entry *Entry, take func(Target, *http.Response) error) error {
	target, land, err := f.pick(route)
	if err != nil {
		status := http.StatusNotFound
		if errors.Is(err, ErrNoTarget) {
			status = http.StatusServiceUnavailable
		}
		return f.unanswered(entry, "", status, err)
	}
	defer land()
	entry.Backend = target.Name
	if target.Path != "" {
		req.Path, entry.Path = target.Path, pathOf(target.Path)
	}

	timed, cancel := context.WithTimeout(ctx, route.Timeout)
	defer cancel()
	res, err := f.send(timed, target.Backend, req)
	if err == nil {
		defer res.Body.Close()
		entry.Status = res.StatusCode
		entry.Release = res.Header.Get(ReleaseHeader)
		if err = take(target, res); err == nil || errors.Is(err, ErrTooLarge) || entry.written {
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return f.unanswered(entry, target.Name, statusCallerGone, ctx.Err())
	case timed.Err() != nil:
		return f.unanswered(entry, target.Name, http.StatusGatewayTimeout, fmt.Errorf("no answer within %s", route.Timeout))
	case errors.Is(err, errNoInstance):
		return f.unanswered(entry, target.Name, http.StatusTooManyRequests, err)
	case errors.Is(err, errDown):
		return f.unanswered(entry, target.Name, http.StatusServiceUnavailable, err)
	}
	return f.unanswered(entry, target.Name, http.StatusBadGateway, err)
}

// statusCallerGone is nginx's number for a request that its caller gave up.
const statusCallerGone = 499

var (
	errNoInstance = errors.New("no available instance")
	errDown       = errors.New("the instance is down")
)

// send sends req, again if the backend has not seen it: nobody listened, or an
// idle connection had been closed meanwhile. It waits for a backend that starts
// no longer than mostPending.
func (f *Front) send(ctx context.Context, backend Backend, req Request) (*http.Response, error) {
	pending, cancel := context.WithTimeoutCause(ctx, mostPending, errNoInstance)
	defer cancel()
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for {
		address, err := backend.Address(pending)
		if err != nil {
			if errors.Is(err, errNoInstance) {
				return nil, err
			}
			return nil, fmt.Errorf("%w: %w", errDown, err)
		}
		res, err := f.transport.RoundTrip(outgoing(ctx, address, req))
		if err == nil {
			return res, nil
		}
		dial := new(net.OpError)
		if !errors.As(err, &dial) || dial.Op != "dial" {
			return nil, err
		}
		select {
		case <-pace.C:
		case <-pending.Done():
			return nil, context.Cause(pending)
		}
	}
}

func outgoing(ctx context.Context, address string, req Request) *http.Request {
	target := &url.URL{Scheme: "http", Host: address}
	path, query, _ := cutQuery(req.Path)
	target.RawQuery = query
	if plain, err := url.PathUnescape(path); err == nil {
		target.Path, target.RawPath = plain, path
	} else {
		target.Path = path
	}
	out := &http.Request{
		Method: req.Method, URL: target, Host: req.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        req.Header.Clone(),
		ContentLength: int64(len(req.Body)),
	}
	if out.Header == nil {
		out.Header = http.Header{}
	}
	if len(req.Body) > 0 {
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(req.Body)), nil }
		out.Body, _ = out.GetBody() // never fails, see the line above
	}
	// An empty list of this header sends none and tells the transport that it
	// may repeat a request, once, when a kept connection turns out to be closed.
	// It cannot tell a connection that was closed while idle from a process that
	// died of the request, so such a request is tried on the next process too.
	out.Header["X-Idempotency-Key"] = []string{}
	return out.WithContext(ctx)
}

// keptIdle is how long a connection is kept for the next request. It is shorter
// than servers commonly keep theirs, so that it is we who close it.
const keptIdle = 4 * time.Second

func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     keptIdle,
		DisableCompression:  true,
	}
}

// unanswered writes the entry of a request that met no backend, or none that
// answered, and returns it as the error it is to its caller.
func (f *Front) unanswered(entry *Entry, backend string, status int, why error) *Unanswered {
	entry.Backend, entry.Status = backend, status
	f.write(entry)
	return &Unanswered{Backend: backend, Status: status, Beneath: why}
}

func (f *Front) write(entry *Entry) {
	entry.written = true
	entry.Millis = float64(time.Since(entry.Time).Microseconds()) / 1000
	if err := f.requests.Write(*entry); err != nil {
		f.log.Error("write to the request log", "error", err)
	}
}
