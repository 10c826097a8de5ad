package fleet

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Probe asks an instance one question, in Kubernetes' terms.
type Probe struct {
	Path     string // of an HTTP GET that must answer 200 to 399; empty: a TCP connection must open
	Headers  http.Header
	Delay    time.Duration // before the first attempt
	Timeout  time.Duration // of one attempt
	Period   time.Duration // from one attempt to the next
	Failures int           // in a row that decide
	Patience time.Duration // with the first pass; 0: what delay, period and failures add up to
}

// budget is how long an instance may take to pass.
func (p Probe) budget() time.Duration {
	if p.Patience > 0 {
		return p.Patience
	}
	return p.Delay + max(p.Period, p.Timeout)*time.Duration(max(p.Failures, 1))
}

// eager is the pace at which an instance that starts is probed. A period of
// seconds, kept to the letter, would make every start that slow; the budget that
// period and threshold make together is what is kept.
const eager = 10 * time.Millisecond

// watch probes an instance until ctx ends. It returns an error when the process
// must be killed: it has not started in time or does not live any more.
func (i *Instance) watch(ctx context.Context) error {
	if err := i.awaitPass(ctx, i.spec.Start, "startup"); err != nil {
		return err
	}
	if i.spec.Ready != nil {
		if err := i.awaitPass(ctx, *i.spec.Ready, "readiness"); err != nil {
			return err
		}
	}
	if over(ctx) {
		return nil
	}
	i.become(Ready)

	lost := make(chan struct{})
	if i.spec.Live != nil {
		go func() {
			i.repeat(ctx, *i.spec.Live, func(passes bool) bool { return passes })
			close(lost)
		}()
	}
	readiness := make(chan struct{})
	watched, stop := context.WithCancel(ctx)
	go func() {
		defer close(readiness)
		if i.spec.Ready == nil {
			return
		}
		i.repeat(watched, *i.spec.Ready, func(passes bool) bool {
			if passes {
				i.become(Ready)
			} else {
				i.become(Unready)
			}
			return true
		})
	}()
	select {
	case <-ctx.Done():
	case <-lost:
	}
	stop()
	<-readiness
	if i.spec.Live != nil {
		<-lost // ends with ctx at the latest
	}
	if over(ctx) {
		return nil
	}
	return fmt.Errorf("the container failed its liveness probe %d times", max(i.spec.Live.Failures, 1))
}

// over says whether the process has ended that ctx belongs to: then its probes do
// not matter any more.
func over(ctx context.Context) bool { return ctx.Err() != nil }

// awaitPass returns nil once the probe passes or ctx ends, and an error when the
// probe has used up its time.
func (i *Instance) awaitPass(ctx context.Context, p Probe, name string) error {
	began := time.Now()
	if p.Delay > 0 {
		select {
		case <-time.After(p.Delay):
		case <-ctx.Done():
			return nil
		}
	}
	pace := time.NewTicker(eager)
	defer pace.Stop()
	for {
		err := i.attempt(ctx, p)
		if err == nil {
			return nil
		}
		if over(ctx) {
			return nil
		}
		if time.Since(began) > p.budget() {
			return fmt.Errorf("the container did not pass its %s probe within %s: %w", name, p.budget(), err)
		}
		select {
		case <-pace.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// repeat probes at the probe's own pace and calls tell each time the answer has
// turned, until tell returns false or ctx ends.
func (i *Instance) repeat(ctx context.Context, p Probe, tell func(passes bool) bool) {
	pace := time.NewTicker(cmp.Or(p.Period, 10*time.Second))
	defer pace.Stop()
	failed, passes := 0, true
	for {
		select {
		case <-pace.C:
		case <-ctx.Done():
			return
		}
		err := i.attempt(ctx, p)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			failed = 0
			if !passes {
				passes = true
				if !tell(true) {
					return
				}
			}
			continue
		}
		if failed++; passes && failed >= max(p.Failures, 1) {
			passes = false
			if !tell(false) {
				return
			}
		}
	}
}

func (i *Instance) attempt(ctx context.Context, p Probe) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(p.Timeout, time.Second))
	defer cancel()
	i.mu.Lock()
	address := i.port.address()
	i.mu.Unlock()
	if p.Path == "" {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return get(ctx, "http://"+address+p.Path, p.Headers)
}

// get uses a connection of its own for each probe: one that stays open would
// count as a client when the instance drains.
func get(ctx context.Context, url string, headers http.Header) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	for name, values := range headers {
		req.Header[name] = values
	}
	req.Close = true
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // a probe's answer is its status
	if res.StatusCode < 200 || res.StatusCode >= 400 {
		return fmt.Errorf("%s answers %s", req.URL.Path, res.Status)
	}
	return nil
}
