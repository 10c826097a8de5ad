package main

import (
	"bytes"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// grace is what is left of Cloud Run's ten seconds.
const grace = 9 * time.Second

func TestSIGTERMLosesNoRequestAndEndsInTime(t *testing.T) {
	t.Parallel()
	p := serving(t, v1())
	address := strings.TrimPrefix(p.url, "http://")
	dial := func() net.Conn {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial() // never says a word
	idle := dial()
	if _, err := io.WriteString(idle, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.Read(make([]byte, 1024)); err != nil {
		t.Fatal(err)
	}

	// In flight: its head is there and half of its body.
	body := sample(t)
	first, rest := body[:len(body)/2], body[len(body)/2:]
	reader, writer := io.Pipe()
	type result struct {
		status int
		text   []byte
		err    error
	}
	answered := make(chan result, 1)
	go func() {
		status, _, text, err := p.predict(t.Context(), reader)
		answered <- result{status, text, err}
	}()
	if _, err := writer.Write(first); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for p.get(t, "/health/ready") != 503 { // until the signal has arrived
	}
	if got := p.get(t, "/health/live"); got != 200 {
		t.Errorf("live answers %d while leaving, want 200", got)
	}
	if status, _, text, err := p.predict(t.Context(), bytes.NewReader(body)); err != nil || status != 200 {
		t.Errorf("a request that came while leaving: status %d, %v: %.200s", status, err, text)
	}
	if _, err := writer.Write(rest); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	if got := <-answered; got.err != nil || got.status != 200 || !strings.HasPrefix(string(got.text), `{"predictions":[`) {
		t.Errorf("the request in flight: status %d, %v: %.200s", got.status, got.err, got.text)
	}
	code, _ := p.end(t)
	took := time.Since(began)
	if code != 0 || took >= grace {
		t.Errorf("exit %d after %v, want 0 within %v:\n%s", code, took, grace, p.logs)
	}
	t.Logf("left in %v", took)
}

func TestSIGTERMWithARequestThatNeverEndsStillEndsInTime(t *testing.T) {
	t.Parallel()
	p := serving(t, v1())
	reader, writer := io.Pipe()
	defer writer.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.predict(t.Context(), reader) //nolint:errcheck // it is cut off, one way or another
	}()
	if _, err := writer.Write([]byte(`{"instances":[`)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	code, _ := p.end(t)
	if took := time.Since(began); took >= grace || code != 1 || !strings.Contains(p.logs.String(), "requests were cut off") {
		t.Errorf("exit %d after %v, want 1 within %v and the reason:\n%s", code, took, grace, p.logs)
	}
	writer.CloseWithError(io.ErrClosedPipe)
	<-ended
}
