// Package deploy is what becomes of a release: a plan of steps over targets,
// and the one engine that carries plans out.
package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tftctl/tftctl/pkg/fault"
)

// Facts is what a Target shows of itself: a short canonical text for each fact,
// equal exactly when the meaning is equal. "split": "v12=95,v13=5" is in order
// of version and leaves out who has nothing. A fact that is absent is "".
type Facts map[string]string

// The facts that targets share.
const (
	SplitFact     = "split"   // a Split
	ReleasePrefix = "release" // followed by a release's ID: Ready
	AliasFact     = "alias"   // followed by an alias: the version it points to
	PlaceFact     = "place"   // what holds releases, a service or an endpoint: Ready
	ModelFact     = "model"   // followed by a release's ID: its model is uploaded: Ready
)

// Ready is the value of a fact about a thing that is there and works; Foreign
// that of a place that somebody else made. Releases may go there, but it is
// never removed.
const (
	Ready   = "ready"
	Foreign = "foreign"
)

// ReleaseFact returns the fact whether the release called id is ready.
func ReleaseFact(id string) string { return ReleasePrefix + " " + id }

// Releases returns the IDs of the releases that f shows as ready, in order of version.
func (f Facts) Releases() []string {
	var ids []string
	for fact, value := range f {
		if id, ok := strings.CutPrefix(fact, ReleasePrefix+" "); ok && value == Ready {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compareReleases)
	return ids
}

// Split returns the split that f shows.
func (f Facts) Split() (Split, error) { return ParseSplit(f[SplitFact]) }

// Step is one change of one fact: which target, which fact, what must hold
// before, what holds after. Its undoing is the step with From and To exchanged.
type Step struct {
	Target string `json:"target"`
	Fact   string `json:"fact"`
	From   string `json:"from"`
	To     string `json:"to"`
	// Release is what To or From means where the fact is about a release.
	Release *Release `json:"release,omitempty"`
}

// Reversed returns the step that undoes s.
func (s Step) Reversed() Step {
	s.From, s.To = s.To, s.From
	return s
}

// String returns the step as a plan prints it.
func (s Step) String() string {
	return fmt.Sprintf("%s  %s  %s -> %s", s.Target, s.Fact, orAbsent(s.From), orAbsent(s.To))
}

func orAbsent(v string) string {
	if v == "" {
		return "absent"
	}
	return v
}

// Target is a place where releases serve.
type Target interface {
	// Name is the target's name in plans and journals, such as
	// "run/us-central1/forecaster".
	Name() string
	// Look returns the facts as they are now. It changes nothing.
	Look(ctx context.Context) (Facts, error)
	// Start asks for s and returns the name of the operation that carries it
	// out, for which a later process can wait; "" if s is done already. The
	// write is conditional on s.From: if the fact shows neither From nor To,
	// Start changes nothing and fails as Stale. Starting s twice is harmless.
	Start(ctx context.Context, s Step) (operation string, err error)
	// Wait returns once Look shows what s asked for, or why it never will.
	Wait(ctx context.Context, s Step, operation string) error
}

// Prober is the optional ability of a Target to ask a release for predictions
// before, or whatever, traffic it has.
type Prober interface {
	// Probe sends body, a prediction request, to the release called id, and
	// returns what is wrong with its answer. A target that cannot address a
	// release without traffic returns nil for one that has none.
	Probe(ctx context.Context, id string, body []byte) error
}

// Snapshot is the Facts of every target at one moment, by the targets' names.
type Snapshot map[string]Facts

// Observe looks at every target once.
func Observe(ctx context.Context, targets ...Target) (Snapshot, error) {
	facts := make([]Facts, len(targets))
	group, ctx := errgroup.WithContext(ctx)
	for i, t := range targets {
		group.Go(func() (err error) {
			if facts[i], err = t.Look(ctx); err != nil {
				return fmt.Errorf("look at %s: %w", t.Name(), err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	snap := Snapshot{}
	for i, t := range targets {
		snap[t.Name()] = facts[i]
	}
	return snap, nil
}

// Names returns the targets of s in order.
func (s Snapshot) Names() []string { return slices.Sorted(maps.Keys(s)) }

// Confirm returns nil if t shows what s asked for. It is how a Wait ends: an
// operation that succeeded is no proof that nobody else was there meanwhile.
func (s Step) Confirm(ctx context.Context, t Target) error {
	facts, err := t.Look(ctx)
	if err != nil {
		return err
	}
	if facts[s.Fact] != s.To {
		return fault.Newf(fault.Stale, "%s: %s is %s after the change, not %s", s.Target, s.Fact, orAbsent(facts[s.Fact]), orAbsent(s.To)).
			WithHint("somebody else changed it meanwhile: look with `tftctl status`, then plan again")
	}
	return nil
}

// Expect returns what Start owes its caller about fact, which now shows value:
// done if s needs nothing more, or Stale if it shows neither From nor To.
func (s Step) Expect(value string) (done bool, err error) {
	switch value {
	case s.To:
		return true, nil
	case s.From:
		return false, nil
	}
	return false, fault.Newf(fault.Stale, "%s: %s is %s, where the plan saw %s", s.Target, s.Fact, orAbsent(value), orAbsent(s.From)).
		WithHint("somebody else changed it: look with `tftctl status`, then plan again")
}
