// Package drain is leaving traffic without losing a request.
package drain

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/tftctl/tftctl/pkg/fault"
)

// Options are how long each part of leaving takes. Together they stay below the
// nine seconds that are left of Cloud Run's ten.
type Options struct {
	Quiet  time.Duration // no new request for so long is quiet; 0: 1 s
	Linger time.Duration // wait for quiet at most so long; 0: 4 s
	Finish time.Duration // then let running requests finish for at most so long; 0: 3.5 s
	Cut    time.Duration // then cancel them and let them say so; 0: 0.5 s
}

// Drain knows whether a server is leaving and who is still there.
type Drain struct {
	options Options
	leaving chan struct{}
	leave   sync.Once
	arrived chan struct{} // a request came, since somebody last looked

	mu     sync.Mutex
	silent map[net.Conn]time.Time // connections that have not said a word, since when
}

// New returns the Drain of one server.
func New(o Options) *Drain {
	defaults := []struct {
		value *time.Duration
		or    time.Duration
	}{{&o.Quiet, time.Second}, {&o.Linger, 4 * time.Second}, {&o.Finish, 3500 * time.Millisecond}, {&o.Cut, 500 * time.Millisecond}}
	for _, d := range defaults {
		if *d.value == 0 {
			*d.value = d.or
		}
	}
	return &Drain{
		options: o,
		leaving: make(chan struct{}),
		arrived: make(chan struct{}, 1),
		silent:  map[net.Conn]time.Time{},
	}
}

// Leaving tells whether the server is on its way out. Readiness asks this.
func (d *Drain) Leaving() bool {
	select {
	case <-d.leaving:
		return true
	default:
		return false
	}
}

// Handler serves next, and tells clients of a leaving server to come back on
// another connection, which a router then opens elsewhere. HTTP/2 connections
// get a GOAWAY by the same header.
func (d *Drain) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case d.arrived <- struct{}{}:
		default: // somebody has been here already
		}
		if d.Leaving() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// ConnState is the server's hook of that name. It keeps the connections that
// were opened and never used: Shutdown would wait five seconds for each.
func (d *Drain) ConnState(c net.Conn, state http.ConnState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if state == http.StateNew {
		d.silent[c] = time.Now()
		return
	}
	delete(d.silent, c)
}

// Leave takes s out of traffic like a lame duck: it keeps accepting and serving
// until the routers have noticed, because closing the listener first loses the
// requests that they have sent already. Then it stops listening, lets running
// requests finish, calls cut to cancel those that do not, and closes.
//
// It returns nil after a clean end, Timeout if requests had to be cut off.
func (d *Drain) Leave(s *http.Server, cut func(error)) error {
	d.leave.Do(func() { close(d.leaving) })
	d.waitForQuiet()
	d.hangUpOnSilent()
	// Nobody new gets in from here on, so a moment later all are old enough.
	again := time.AfterFunc(d.options.Quiet, d.hangUpOnSilent)
	defer again.Stop()

	err := within(d.options.Finish, s.Shutdown)
	if err != nil {
		cut(fault.Newf(fault.Unavailable, "the server is shutting down").WithHint("ask again: another instance answers"))
		err = within(d.options.Cut, s.Shutdown)
	}
	if closing := s.Close(); err != nil {
		return fault.Wrap(fault.Timeout, errors.Join(err, closing), "requests were cut off: they were still running at the end of the drain")
	}
	return nil
}

// waitForQuiet returns after a moment without a new request, or after the
// longest time that there is for it.
func (d *Drain) waitForQuiet() {
	end := time.NewTimer(d.options.Linger)
	defer end.Stop()
	quiet := time.NewTimer(d.options.Quiet)
	defer quiet.Stop()
	for {
		select {
		case <-d.arrived:
			quiet.Reset(d.options.Quiet)
		case <-quiet.C:
			return
		case <-end.C:
			return
		}
	}
}

// hangUpOnSilent closes the connections that have been silent for a whole quiet
// moment. On a younger one a request may be under way.
func (d *Drain) hangUpOnSilent() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c, since := range d.silent {
		if time.Since(since) >= d.options.Quiet {
			_ = c.Close() // it is being given up either way
		}
	}
}

// within calls shutdown on a fresh context: the one whose end began the leaving
// has no time left to give.
func within(limit time.Duration, shutdown func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return shutdown(ctx)
}
