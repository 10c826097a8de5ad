// Package journal is what was intended, with what came of it: one object per
// transaction, written over its own generation only.
package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tftctl/tftctl/pkg/blob"
	"github.com/tftctl/tftctl/pkg/fault"
)

// How a transaction stands.
const (
	Running     = "running"
	Done        = "done"
	Held        = "held"        // at a share below 100, on purpose
	RolledBack  = "rolled-back" // a gate failed, everything was put back
	Failed      = "failed"
	Interrupted = "interrupted"
)

// Schema is the version of Entry's stored form.
const Schema = "tftctl/journal/v1"

// Entry is one transaction.
type Entry struct {
	Schema  string          `json:"schema"`
	ID      string          `json:"id"` // 000013
	Verb    string          `json:"verb"`
	Release string          `json:"release,omitempty"` // that it is about
	Serving string          `json:"serving,omitempty"` // that was to have the most traffic afterwards
	Leaving string          `json:"leaving,omitempty"` // that was to lose it
	By      string          `json:"by,omitempty"`
	Reason  string          `json:"reason,omitempty"`
	Started time.Time       `json:"started"`
	Ended   time.Time       `json:"ended,omitzero"`
	Status  string          `json:"status"`
	Plan    json.RawMessage `json:"plan"`
	Steps   []Step          `json:"steps"`
	// After is every target's facts at the end of a transaction that was Done
	// or Held: what a rollback to it restores.
	After map[string]map[string]string `json:"after,omitempty"`
}

// Step is one change that was intended.
type Step struct {
	Target    string    `json:"target"`
	Fact      string    `json:"fact"`
	From      string    `json:"from"`
	To        string    `json:"to"`
	Started   time.Time `json:"started"`
	Operation string    `json:"operation,omitempty"`
	Ended     time.Time `json:"ended,omitzero"`
	Error     string    `json:"error,omitempty"`
}

// Journal is the transactions of one environment.
type Journal struct {
	store  blob.Store
	prefix string
}

// New returns the journal whose objects have names that begin with prefix.
func New(store blob.Store, prefix string) *Journal { return &Journal{store, prefix} }

func (j *Journal) object(id string) string { return j.prefix + id + ".json" }

// Begin starts a transaction. One that still runs is first marked as
// interrupted: whoever ran it has lost the lock, and can write no more.
func (j *Journal) Begin(ctx context.Context, e Entry) (*Txn, error) {
	names, err := j.store.List(ctx, j.prefix)
	if err != nil {
		return nil, err
	}
	next := 1
	if len(names) > 0 {
		last, err := j.settle(ctx, names[len(names)-1])
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Sscanf(last.ID, "%d", &next); err != nil {
			return nil, fault.Newf(fault.Corrupt, "the journal has an entry called %q", last.ID)
		}
		next++
	}
	e.Schema, e.ID, e.Status, e.Started, e.Steps = Schema, fmt.Sprintf("%06d", next), Running, time.Now().UTC(), []Step{}
	t := &Txn{journal: j, entry: e}
	return t, t.write(ctx)
}

// Settle marks the newest transaction as interrupted if it still runs: whoever
// holds the lock knows that it does not.
func (j *Journal) Settle(ctx context.Context) error {
	names, err := j.store.List(ctx, j.prefix)
	if err != nil || len(names) == 0 {
		return err
	}
	_, err = j.settle(ctx, names[len(names)-1])
	return err
}

func (j *Journal) settle(ctx context.Context, name string) (Entry, error) {
	e, generation, err := j.read(ctx, name)
	if err != nil || e.Status != Running {
		return e, err
	}
	t := &Txn{journal: j, entry: e, generation: generation}
	return e, t.End(ctx, Interrupted, nil)
}

// readers is how many entries are read at a time: a store far away answers each
// after some milliseconds, and a long history has hundreds.
const readers = 16

// Entries returns all transactions, oldest first.
func (j *Journal) Entries(ctx context.Context) ([]Entry, error) {
	names, err := j.store.List(ctx, j.prefix)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, n := range names {
		group.Go(func() (err error) {
			entries[i], _, err = j.read(ctx, n)
			return err
		})
	}
	return entries, group.Wait()
}

func (j *Journal) read(ctx context.Context, name string) (Entry, int64, error) {
	content, generation, err := j.store.Get(ctx, name)
	if err != nil {
		return Entry{}, 0, err
	}
	var e Entry
	if err := json.Unmarshal(content, &e); err != nil {
		return Entry{}, 0, fault.Wrap(fault.Corrupt, err, "the journal's %s cannot be read", name)
	}
	if e.Schema != Schema {
		return Entry{}, 0, fault.Newf(fault.Invalid, "the journal's %s has schema %q, want %q", name, e.Schema, Schema).
			WithHint("it was written by a later tftctl: update this one")
	}
	return e, generation, nil
}

// Txn is a transaction that is being written.
type Txn struct {
	journal    *Journal
	entry      Entry
	generation int64
}

// ID returns the transaction's name.
func (t *Txn) ID() string { return t.entry.ID }

// Intent writes down that s is about to be started and returns its number.
func (t *Txn) Intent(ctx context.Context, s Step) (int, error) {
	s.Started = time.Now().UTC()
	t.entry.Steps = append(t.entry.Steps, s)
	return len(t.entry.Steps) - 1, t.write(ctx)
}

// Operation writes down which operation carries out step n.
func (t *Txn) Operation(ctx context.Context, n int, name string) error {
	t.entry.Steps[n].Operation = name
	return t.write(ctx)
}

// Outcome writes down how step n ended; nil is well.
func (t *Txn) Outcome(ctx context.Context, n int, outcome error) error {
	t.entry.Steps[n].Ended = time.Now().UTC()
	if outcome != nil {
		t.entry.Steps[n].Error = outcome.Error()
	}
	return t.write(ctx)
}

// End closes the transaction.
func (t *Txn) End(ctx context.Context, status string, after map[string]map[string]string) error {
	t.entry.Status, t.entry.Ended, t.entry.After = status, time.Now().UTC(), after
	return t.write(ctx)
}

// Confirm returns nil while the transaction is still this process's to write,
// Locked when another run has taken over.
func (t *Txn) Confirm(ctx context.Context) error { return t.write(ctx) }

// patience bounds one write of the journal.
const patience = 30 * time.Second

// write is not cancelled with ctx: a write that was given up on the way may
// have arrived, and then nobody would know what the journal says.
func (t *Txn) write(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	content, err := json.MarshalIndent(t.entry, "", " ")
	if err != nil {
		return err
	}
	generation, err := t.journal.store.Put(ctx, t.journal.object(t.entry.ID), content, t.generation)
	if err != nil {
		if fault.KindOf(err) == fault.Stale {
			return fault.Wrap(fault.Locked, err, "another run has taken over the journal").WithHint("`tftctl history` shows it")
		}
		return err
	}
	t.generation = generation
	return nil
}
