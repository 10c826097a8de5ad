package drain_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/serve/drain"
	"github.com/tftctl/tftctl/serve/reply"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bound is far above what any of these tests takes, and below the five seconds
// that Shutdown gives a silent connection.
const bound = 4 * time.Second

// duck is a server that can leave.
type duck struct {
	drain   *drain.Drain
	http    *http.Server
	address string
	cut     context.CancelCauseFunc
	left    chan error
}

// start serves h on a real socket until the duck has left.
func start(t *testing.T, o drain.Options, h http.Handler) *duck {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests, cut := context.WithCancelCause(context.Background())
	d := &duck{drain: drain.New(o), address: l.Addr().String(), cut: cut, left: make(chan error, 1)}
	d.http = &http.Server{
		Handler:     d.drain.Handler(h),
		ConnState:   d.drain.ConnState,
		BaseContext: func(net.Listener) context.Context { return requests },
	}
	ended := make(chan error, 1)
	go func() { ended <- d.http.Serve(l) }()
	t.Cleanup(func() {
		d.http.Close()
		cut(nil)
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the server ended with %v", err)
		}
	})
	return d
}

// leave begins to leave and returns once that shows.
func (d *duck) leave(t *testing.T) {
	t.Helper()
	go func() { d.left <- d.drain.Leave(d.http, d.cut) }()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !d.drain.Leaving() {
		<-look.C
	}
}

// gone waits until the duck has left and returns how that ended.
func (d *duck) gone(t *testing.T) error {
	t.Helper()
	select {
	case err := <-d.left:
		return err
	case <-time.After(bound):
		t.Fatalf("still there after %v", bound)
		return nil
	}
}

// connect opens a connection and says nothing.
func (d *duck) connect(t *testing.T) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", d.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ask sends a request over c and returns the answer.
func ask(t *testing.T, c net.Conn) (*http.Response, string) {
	t.Helper()
	if _, err := fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: duck\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(body)
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })

func TestLeavingServerStillServesAndSaysGoodbye(t *testing.T) {
	d := start(t, drain.Options{Quiet: 200 * time.Millisecond}, hello)
	old := d.connect(t)
	if r, _ := ask(t, old); r.Close {
		t.Error("a server that stays said Connection: close")
	}
	d.leave(t)
	for name, c := range map[string]net.Conn{"old connection": old, "new connection": d.connect(t)} {
		if r, body := ask(t, c); body != "hello" || !r.Close {
			t.Errorf("%s: body %q, Connection: close %v; want hello and close", name, body, r.Close)
		}
	}
	if err := d.gone(t); err != nil {
		t.Error(err)
	}
}

func TestRequestInFlightFinishes(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	d := start(t, drain.Options{Quiet: 20 * time.Millisecond}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-finish
		hello(w, r)
	}))
	answer := make(chan string, 1)
	c := d.connect(t)
	go func() {
		_, body := ask(t, c)
		answer <- body
	}()
	<-began
	d.leave(t)
	select { // long past quiet: the listener is closed, the request is not
	case err := <-d.left:
		t.Fatalf("left with a request in flight: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	close(finish)
	if got := <-answer; got != "hello" {
		t.Errorf("got %q, want hello", got)
	}
	if err := d.gone(t); err != nil {
		t.Error(err)
	}
}

func TestIdleAndSilentConnectionsHoldNobody(t *testing.T) {
	d := start(t, drain.Options{Quiet: 20 * time.Millisecond, Finish: time.Minute}, hello)
	silent, idle := d.connect(t), d.connect(t)
	ask(t, idle) // accepted after the silent one, so that one is known by now
	d.leave(t)
	if err := d.gone(t); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]net.Conn{"silent": silent, "idle": idle} {
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("the %s connection got %d bytes, want it closed", name, n)
		}
	}
}

func TestSilentConnectionOfTheLastMomentHoldsNobody(t *testing.T) {
	d := start(t, drain.Options{Quiet: 300 * time.Millisecond, Finish: 2 * time.Second}, hello)
	d.leave(t)
	<-time.After(100 * time.Millisecond)
	d.connect(t) // 200 ms old, and so no whole quiet moment, when that is over
	if err := d.gone(t); err != nil {
		t.Errorf("no request was cut off, and yet: %v", err)
	}
}

func TestRequestThatDoesNotFinishIsCutAndTold(t *testing.T) {
	began := make(chan struct{})
	o := drain.Options{Quiet: 20 * time.Millisecond, Finish: 50 * time.Millisecond, Cut: time.Second}
	d := start(t, o, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		reply.Error(w, r, context.Cause(r.Context()))
	}))
	c := d.connect(t)
	status := make(chan int, 1)
	go func() {
		r, _ := ask(t, c)
		status <- r.StatusCode
	}()
	<-began
	d.leave(t)
	if got := <-status; got != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", got)
	}
	if err := d.gone(t); err != nil {
		t.Errorf("the request was answered in the end, and yet: %v", err)
	}
}

func TestRequestThatHangsIsGivenUp(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	o := drain.Options{Quiet: 20 * time.Millisecond, Finish: 20 * time.Millisecond, Cut: 20 * time.Millisecond}
	d := start(t, o, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(began)
		<-end
	}))
	defer close(end)
	c := d.connect(t)
	if _, err := fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: duck\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-began
	d.leave(t)
	if err := d.gone(t); fault.KindOf(err) != fault.Timeout {
		t.Errorf("got %v, want Timeout", err)
	}
}

func TestSteadyTrafficDoesNotKeepTheServer(t *testing.T) {
	d := start(t, drain.Options{Quiet: 200 * time.Millisecond, Linger: 400 * time.Millisecond}, hello)
	d.leave(t)
	asked := 0
	for ended := false; !ended; {
		select {
		case err := <-d.left:
			if err != nil {
				t.Error(err)
			}
			ended = true
		default:
			r, err := http.Get("http://" + d.address) //nolint:noctx // a client that knows nothing of us
			if err == nil {
				r.Body.Close()
				asked++
			}
		}
	}
	if asked < 2 {
		t.Errorf("only %d requests were answered while leaving", asked)
	}
}
