package ops

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// ErrSuperseded is the cause of a reconciler's context when its resource was
// changed again: what it is waiting for may no longer be wanted.
var ErrSuperseded = errors.New("a later change superseded this one")

// Reconciler brings resources to the state that is stored for them, each in a
// goroutine of its own, one at a time per resource.
type Reconciler struct {
	run func(ctx context.Context, key string) error
	log *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	tasks map[string]*pass
}

type pass struct {
	again  bool
	cancel context.CancelCauseFunc
}

// NewReconciler returns a Reconciler that calls run for each resource that was
// kicked. run reads what is wanted anew each time; when it returns an error it
// is called again after a while.
func NewReconciler(log *slog.Logger, run func(ctx context.Context, key string) error) *Reconciler {
	ctx, cancel := context.WithCancel(context.Background())
	return &Reconciler{run: run, log: log, ctx: ctx, cancel: cancel, tasks: map[string]*pass{}}
}

// Kick says that what is wanted of key has changed. A pass that runs is told
// so by its context, and another one follows it.
func (r *Reconciler) Kick(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return
	}
	if p := r.tasks[key]; p != nil {
		p.again = true
		p.cancel(ErrSuperseded)
		return
	}
	p := &pass{}
	r.tasks[key] = p
	ctx := p.begin(r.ctx)
	r.wg.Go(func() { r.loop(ctx, key, p) })
}

// Close ends all passes and waits for them. What they had not finished is
// finished after the next start.
func (r *Reconciler) Close() {
	r.mu.Lock()
	r.cancel()
	r.mu.Unlock()
	r.wg.Wait()
}

func (p *pass) begin(parent context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	p.cancel = cancel
	return ctx
}

// The bounds of the wait before a pass that met an error is made again.
const (
	shortestRetry = 50 * time.Millisecond
	longestRetry  = 5 * time.Second
)

func (r *Reconciler) loop(ctx context.Context, key string, p *pass) {
	retry := shortestRetry
	for {
		err := r.run(ctx, key)
		if err == nil {
			retry = shortestRetry
		} else if ctx.Err() == nil {
			r.log.Error("reconcile", "resource", key, "error", err)
			select {
			case <-time.After(retry):
			case <-ctx.Done():
			}
			retry = min(2*retry, longestRetry)
		}

		r.mu.Lock()
		p.cancel(nil)
		if r.ctx.Err() != nil || (err == nil && !p.again) {
			delete(r.tasks, key)
			r.mu.Unlock()
			return
		}
		p.again = false
		ctx = p.begin(r.ctx)
		r.mu.Unlock()
	}
}
