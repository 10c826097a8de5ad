// Package lock is a lease with a fencing number, kept as one object that is
// written over its own generation only.
package lock

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tftctl/tftctl/pkg/blob"
	"github.com/tftctl/tftctl/pkg/fault"
)

// Lock is the lock of one environment.
type Lock struct {
	store  blob.Store
	name   string
	holder string
	seize  bool
}

// Schema is the version of the lock's stored form.
const Schema = "tftctl/lock/v1"

const (
	lease   = 30 * time.Second // how long a holder that died keeps others out
	renewal = 10 * time.Second
	patient = 5 * time.Second // for the last write of a holder
)

// State is the lock as it is stored. Fence rises with every holder.
type State struct {
	Schema  string    `json:"schema"`
	Holder  string    `json:"holder,omitempty"` // "": free
	What    string    `json:"what,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	Fence   int64     `json:"fence"`
}

// New returns the lock that is the object called name. Holder says who asks,
// for the message that others get.
func New(store blob.Store, name, holder string) *Lock {
	return &Lock{store: store, name: name, holder: holder}
}

// Seizing returns the lock for somebody who cannot wait, such as a rollback:
// it is taken from whoever holds it. That one notices with its next renewal;
// until then the journal lets it start nothing more.
func (l *Lock) Seizing() *Lock {
	seizing := *l
	seizing.seize = true
	return &seizing
}

// Look returns the lock's state and generation; the zero State where nobody
// ever held it.
func (l *Lock) Look(ctx context.Context) (State, int64, error) {
	content, generation, err := l.store.Get(ctx, l.name)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return State{}, 0, nil
	}
	if err != nil {
		return State{}, 0, fmt.Errorf("read the lock: %w", err)
	}
	var s State
	if err := json.Unmarshal(content, &s); err != nil || s.Schema != Schema {
		return State{}, 0, fault.Wrap(fault.Corrupt, err, "the lock %s cannot be read (schema %q, want %q)", l.name, s.Schema, Schema).
			WithHint("it was written by another program or a later tftctl")
	}
	return s, generation, nil
}

// Held is a lock that is held.
type Held struct {
	lock       *Lock
	state      State
	generation int64
	stop       context.CancelFunc
	ended      chan struct{} // closed when nobody renews any more
}

// Acquire takes the lock and keeps it until Release. The context it returns
// ends when ctx does or when the lease is lost. What says what it is held for.
//
// Errors: Locked while somebody else holds it.
func (l *Lock) Acquire(ctx context.Context, what string) (*Held, context.Context, error) {
	now := time.Now()
	state, generation, err := l.Look(ctx)
	if err != nil {
		return nil, nil, err
	}
	if state.Holder != "" && now.Before(state.Expires) && !l.seize {
		return nil, nil, l.locked(state, now)
	}
	h := &Held{lock: l, ended: make(chan struct{}), state: State{
		Schema: Schema, Holder: l.holder, What: what, Since: now.UTC(), Expires: now.Add(lease).UTC(), Fence: state.Fence + 1,
	}}
	// Not cancelled with ctx: a lock that was taken and not heard of would stay
	// held for the length of its lease.
	taking, cancel := context.WithTimeout(context.WithoutCancel(ctx), patient)
	defer cancel()
	if h.generation, err = h.write(taking, generation); err != nil {
		if fault.KindOf(err) == fault.Stale { // somebody was quicker
			if state, _, lookErr := l.Look(ctx); lookErr == nil && state.Holder != "" {
				return nil, nil, l.locked(state, now)
			}
		}
		return nil, nil, fmt.Errorf("take the lock: %w", err)
	}
	ctx, h.stop = context.WithCancel(ctx)
	go h.renew(ctx)
	return h, ctx, nil
}

func (l *Lock) locked(s State, now time.Time) error {
	return fault.Newf(fault.Locked, "%s has held the lock since %s (%s); its lease ends in %s", s.Holder, s.Since.Format(time.RFC3339), s.What,
		s.Expires.Sub(now).Round(time.Second)).WithHint("wait until it is done, then run the same command again; if that process is gone, the lease ends by itself. A rollback does not wait")
}

func (h *Held) write(ctx context.Context, over int64) (int64, error) {
	content, err := json.Marshal(h.state)
	if err != nil {
		return 0, err
	}
	return h.lock.store.Put(ctx, h.lock.name, content, over)
}

// renew prolongs the lease until ctx ends or the lock is somebody else's.
func (h *Held) renew(ctx context.Context) {
	defer close(h.ended)
	defer h.stop() // a holder without a lease must not go on
	tick := time.NewTicker(renewal)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		expires := h.state.Expires
		h.state.Expires = time.Now().Add(lease).UTC()
		generation, err := h.write(ctx, h.generation)
		switch {
		case err == nil:
			h.generation = generation
		case fault.KindOf(err) == fault.Stale || time.Now().Add(renewal).After(expires):
			return
		default: // the store was away for a moment; the lease still has time
			h.state.Expires = expires
		}
	}
}

// Release gives the lock back. It works after the context has ended; a lock
// that somebody else has taken over meanwhile is left alone.
func (h *Held) Release() error {
	h.stop()
	<-h.ended
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	h.state = State{Schema: Schema, Fence: h.state.Fence}
	if _, err := h.write(ctx, h.generation); err != nil && fault.KindOf(err) != fault.Stale {
		return fmt.Errorf("free the lock: %w", err)
	}
	return nil
}
