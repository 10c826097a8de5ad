package fleet

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// Pool keeps at most one instance for each key and lets one go only when nobody
// needs it any more. It is safe for concurrent use.
type Pool struct {
	fleet  *Fleet
	landed func(ctx context.Context, name string) error

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	kept map[string]*kept
}

type kept struct {
	instance *Instance
	retire   context.CancelFunc // not nil while the instance waits to be let go
}

// NewPool returns an empty Pool. landed waits until no request is in flight to
// instances of that Spec.Name.
func NewPool(f *Fleet, landed func(ctx context.Context, name string) error) *Pool {
	ctx, cancel := context.WithCancel(context.Background())
	return &Pool{fleet: f, landed: landed, ctx: ctx, cancel: cancel, kept: map[string]*kept{}}
}

// Need returns the instance of that key. It starts one if there is none, or
// none that can still get ready, and keeps one that was about to be let go.
func (p *Pool) Need(key string, spec func() (Spec, error)) (*Instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.kept[key]; k != nil {
		if k.retire != nil {
			k.retire()
			k.retire = nil
		}
		if s := k.instance.Describe().State; s != Failed && s != Stopping && s != Stopped {
			return k.instance, nil
		}
	}
	s, err := spec()
	if err != nil {
		return nil, err
	}
	i, err := p.fleet.Start(s)
	if err != nil {
		return nil, err
	}
	p.kept[key] = &kept{instance: i}
	return i, nil
}

// Keys returns the keys of the instances that are kept.
func (p *Pool) Keys() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.kept))
}

// Retire lets the instance of that key go: it is told to stop when its last
// request has ended, or after patience. It must not be in any route any more.
func (p *Pool) Retire(key string, patience time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.kept[key]
	if k == nil || k.retire != nil || p.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	k.retire = cancel
	p.wg.Go(func() {
		defer cancel()
		_ = p.landed(ctx, k.instance.spec.Name) // or patience has ended: the instance goes either way
		p.mu.Lock()
		defer p.mu.Unlock()
		if errors.Is(ctx.Err(), context.Canceled) {
			return // needed again, or all are going
		}
		delete(p.kept, key)
		k.instance.Terminate()
	})
}

// Close ends the waiting of what was to be let go. The instances themselves are
// the Fleet's to stop.
func (p *Pool) Close() {
	p.cancel()
	p.wg.Wait()
}
