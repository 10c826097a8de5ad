// Package fleet runs instances: real processes that keep the container contract
// of Cloud Run or Vertex AI, started, probed, restarted when they crash, and
// stopped with SIGTERM, a grace and SIGKILL.
package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// MostInstances is how many instances a Fleet holds unless told otherwise: the
// machines this runs on are small.
const MostInstances = 64

// Grace is the time from SIGTERM to SIGKILL unless told otherwise; Google's.
const Grace = 10 * time.Second

// ErrFull is what Start returns when no further instance may be started.
var ErrFull = errors.New("the local cloud holds all the instances it may")

// Options is what all instances of a Fleet share.
type Options struct {
	Server string        // the program that is started, whatever the image
	Env    []string      // in every instance's environment
	Logs   string        // folder of what the instances write
	Grace  time.Duration // SIGTERM to SIGKILL; 0: Grace
	Most   int           // instances at a time; 0: MostInstances
	Log    *slog.Logger
}

// Fleet is the instances that run. It is safe for concurrent use.
type Fleet struct {
	options Options

	mu        sync.Mutex
	instances map[*Instance]struct{}
	closed    bool
}

// New returns a Fleet without instances.
func New(o Options) *Fleet {
	o.Grace = cmp.Or(o.Grace, Grace)
	o.Most = cmp.Or(o.Most, MostInstances)
	return &Fleet{options: o, instances: map[*Instance]struct{}{}}
}

// Start begins an instance and returns at once; Ready waits for it.
//
// Errors: ErrFull; others if there is no port or no log file for it.
func (f *Fleet) Start(s Spec) (*Instance, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errors.New("the local cloud is stopping")
	}
	if len(f.instances) >= f.options.Most {
		return nil, fmt.Errorf("%w: %d", ErrFull, f.options.Most)
	}
	port, err := reserve()
	if err != nil {
		return nil, fmt.Errorf("find a port for %s: %w", s.Name, err)
	}
	output, err := openOutput(f.options.Logs, s.Name)
	if err != nil {
		port.release()
		return nil, fmt.Errorf("open the log of %s: %w", s.Name, err)
	}
	i := &Instance{
		spec:    s,
		options: f.options,
		output:  output,
		port:    port,
		state:   Starting,
		changed: make(chan struct{}),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	f.instances[i] = struct{}{}
	go func() {
		defer close(i.done)
		i.supervise()
		f.mu.Lock()
		delete(f.instances, i)
		f.mu.Unlock()
	}()
	return i, nil
}

// List describes the instances, by name.
func (f *Fleet) List() []Description {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]Description, 0, len(f.instances))
	for i := range f.instances {
		all = append(all, i.Describe())
	}
	slices.SortFunc(all, func(a, b Description) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.PID, b.PID))
	})
	return all
}

// Close stops all instances at once and starts no more. It returns when the
// last process is gone, which takes no longer than the grace and a moment.
func (f *Fleet) Close() {
	f.mu.Lock()
	f.closed = true
	var all []*Instance
	for i := range f.instances {
		all = append(all, i)
	}
	f.mu.Unlock()
	for _, i := range all {
		i.Terminate()
	}
	for _, i := range all {
		<-i.done
	}
}

// Stop ends an instance and waits until its process is gone or ctx ends.
func (i *Instance) Stop(ctx context.Context) {
	i.Terminate()
	select {
	case <-i.done:
	case <-ctx.Done():
	}
}
