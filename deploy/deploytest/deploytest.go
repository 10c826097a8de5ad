// Package deploytest is the contract of a deploy.Target, as a test suite that
// runs over every adapter against a local cloud.
package deploytest

import (
	"context"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
)

// Fixture is one target in a place of its own where nothing is deployed yet.
type Fixture struct {
	Target deploy.Target
	// Source is where the bundle of each release lies.
	Source string
}

// Run tests the targets that open makes: a fresh one for each call.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	t.Run("shows nothing where nothing is", func(t *testing.T) {
		f := begin(t, open)
		if facts := f.look(); len(facts) != 0 {
			t.Errorf("facts of an empty place: %v", facts)
		}
	})

	t.Run("makes a release ready and gives it traffic", func(t *testing.T) {
		f := begin(t, open)
		a := f.deploy(f.release(1), 100)
		facts := f.look()
		if facts[deploy.PlaceFact] != deploy.Ready || facts[deploy.ReleaseFact(a.ID)] != deploy.Ready {
			t.Errorf("release %s is not ready: %v", a.ID, facts)
		}
		f.wantSplit(a.ID + "=100")
		f.wantProbe(a.ID)
	})

	t.Run("starting a step twice is harmless", func(t *testing.T) {
		f := begin(t, open)
		a := f.release(1)
		plan := f.plan(deploy.Goal{Release: &a, Percents: []int{100}})
		for _, stage := range plan.Stages {
			for _, s := range stage.Steps {
				f.apply(s)
				before := f.look()
				operation, err := f.Target.Start(t.Context(), s)
				if err != nil || operation != "" {
					t.Errorf("%s, started again: operation %q, %v; want nothing to do", s, operation, err)
				}
				if diff := cmp.Diff(before, f.look()); diff != "" {
					t.Errorf("%s, started again, changed facts:\n%s", s, diff)
				}
			}
		}
	})

	t.Run("a new release gets no traffic until a split names it", func(t *testing.T) {
		f := begin(t, open)
		a := f.deploy(f.release(1), 100)
		b := f.deploy(f.release(2)) // dark
		f.wantSplit(a.ID + "=100")
		if f.look()[deploy.ReleaseFact(b.ID)] != deploy.Ready {
			t.Errorf("dark release %s is not ready", b.ID)
		}
		f.wantProbe(b.ID)
		f.share(deploy.Split{a.ID: 90, b.ID: 10})
		f.wantSplit(a.ID + "=90," + b.ID + "=10")
		f.wantProbe(b.ID)
	})

	t.Run("a drained release stays drained", func(t *testing.T) {
		f := begin(t, open)
		a := f.deploy(f.release(1), 100)
		b := f.deploy(f.release(2), 100)
		f.wantSplit(b.ID + "=100")
		c := f.deploy(f.release(3), 10)
		f.wantSplit(b.ID + "=90," + c.ID + "=10")
		f.share(deploy.Split{b.ID: 95, c.ID: 5})
		f.wantSplit(b.ID + "=95," + c.ID + "=5")
		if f.look()[deploy.ReleaseFact(a.ID)] != deploy.Ready {
			t.Errorf("the drained release %s is gone: nothing could go back to it", a.ID)
		}
	})

	t.Run("a step undone leaves things as they were", func(t *testing.T) {
		f := begin(t, open)
		a := f.deploy(f.release(1), 100)
		before := f.look()
		b := f.release(2)
		plan := f.plan(deploy.Goal{Release: &b, Percents: []int{25}})
		var done []deploy.Step
		for _, stage := range plan.Stages {
			for _, s := range stage.Steps {
				f.apply(s)
				done = append(done, s)
			}
		}
		f.wantSplit(a.ID + "=75," + b.ID + "=25")
		for i := range done {
			f.apply(done[len(done)-1-i].Reversed())
		}
		if diff := cmp.Diff(before, f.look()); diff != "" {
			t.Errorf("after undoing:\n%s", diff)
		}
	})

	t.Run("a step from another world is refused and changes nothing", func(t *testing.T) {
		f := begin(t, open)
		a := f.deploy(f.release(1), 100)
		b := f.deploy(f.release(2), 10)
		f.refuses(fault.Stale, deploy.Step{Fact: deploy.SplitFact, From: a.ID + "=50," + b.ID + "=50", To: b.ID + "=100"})
	})

	t.Run("a split that names who is not there is refused and changes nothing", func(t *testing.T) {
		f := begin(t, open)
		a := f.deploy(f.release(1), 100)
		f.refuses(fault.NotFound, deploy.Step{Fact: deploy.SplitFact, From: a.ID + "=100", To: a.ID + "=90,v9-00000000=10"})
	})

	t.Run("a release comes back under its own name after it was retired", func(t *testing.T) {
		f := begin(t, open)
		a := f.deploy(f.release(1), 100)
		b := f.deploy(f.release(2), 100)
		f.apply(deploy.Step{Fact: deploy.ReleaseFact(a.ID), From: deploy.Ready})
		if f.look()[deploy.ReleaseFact(a.ID)] != "" {
			t.Errorf("release %s is ready after it was retired", a.ID)
		}
		f.wantSplit(b.ID + "=100")
		f.deploy(f.release(1), 100)
		f.wantSplit(a.ID + "=100")
		f.wantProbe(a.ID)
	})

	t.Run("removes what it made", func(t *testing.T) {
		f := begin(t, open)
		f.deploy(f.release(1), 100)
		f.deploy(f.release(2), 10)
		plan := f.plan(deploy.Goal{Verb: deploy.UndeployVerb, Remove: []string{f.Target.Name()}})
		for _, stage := range plan.Stages {
			for _, s := range stage.Steps {
				f.apply(s)
			}
		}
		facts := f.look()
		maps.DeleteFunc(facts, func(fact, _ string) bool { return isModel(fact) }) // uploaded models cost nothing and stay
		if len(facts) != 0 {
			t.Errorf("facts after the removal: %v", facts)
		}
	})

	t.Run("a cancelled call changes nothing", func(t *testing.T) {
		f := begin(t, open)
		a := f.deploy(f.release(1), 100)
		b := f.deploy(f.release(2), 10)
		before := f.look()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s := deploy.Step{Target: f.Target.Name(), Fact: deploy.SplitFact, From: before[deploy.SplitFact], To: b.ID + "=100"}
		if _, err := f.Target.Start(ctx, s); err == nil {
			t.Error("a start with a cancelled context succeeded")
		}
		f.wantSplit(a.ID + "=90," + b.ID + "=10")
	})
}

func isModel(fact string) bool {
	return len(fact) > len(deploy.ModelFact) && fact[:len(deploy.ModelFact)+1] == deploy.ModelFact+" "
}

// fixture is a Fixture under test.
type fixture struct {
	Fixture
	t *testing.T
}

func begin(t *testing.T, open func(t *testing.T) Fixture) *fixture {
	t.Helper()
	return &fixture{open(t), t}
}

// release returns the release of version v.
func (f *fixture) release(v model.Version) deploy.Release {
	return deploy.NewRelease(deploy.Release{
		Name: "forecast", Version: v, Model: model.DigestOf([]byte(v.String())), Source: f.Source,
		Image: "example.com/tftserve:1", Settings: model.DigestOf(nil),
	})
}

func (f *fixture) look() deploy.Facts {
	f.t.Helper()
	facts, err := f.Target.Look(f.t.Context())
	if err != nil {
		f.t.Fatalf("look at %s: %v", f.Target.Name(), err)
	}
	return facts
}

func (f *fixture) plan(g deploy.Goal) deploy.Plan {
	f.t.Helper()
	plan, err := deploy.NewPlan(deploy.Snapshot{f.Target.Name(): f.look()}, g)
	if err != nil {
		f.t.Fatal(err)
	}
	return plan
}

// apply makes s true.
func (f *fixture) apply(s deploy.Step) {
	f.t.Helper()
	s.Target = f.Target.Name()
	operation, err := f.Target.Start(f.t.Context(), s)
	if err != nil {
		f.t.Fatalf("start %s: %v", s, err)
	}
	if err := f.Target.Wait(f.t.Context(), s, operation); err != nil {
		f.t.Fatalf("wait for %s: %v", s, err)
	}
}

// deploy releases r at percents, one after the other, without retiring anything.
func (f *fixture) deploy(r deploy.Release, percents ...int) deploy.Release {
	f.t.Helper()
	for _, stage := range f.plan(deploy.Goal{Release: &r, Percents: percents}).Stages {
		if stage.Cleanup {
			continue
		}
		for _, s := range stage.Steps {
			f.apply(s)
		}
	}
	return r
}

func (f *fixture) share(want deploy.Split) {
	f.t.Helper()
	f.apply(deploy.Step{Fact: deploy.SplitFact, From: f.look()[deploy.SplitFact], To: want.String()})
}

func (f *fixture) wantSplit(want string) {
	f.t.Helper()
	if got := f.look()[deploy.SplitFact]; got != want {
		f.t.Errorf("split of %s is %q, want %q", f.Target.Name(), got, want)
	}
}

func (f *fixture) wantProbe(id string) {
	f.t.Helper()
	p, ok := f.Target.(deploy.Prober)
	if !ok {
		return
	}
	if err := p.Probe(f.t.Context(), id, []byte(`{"instances":[{"x":[1]}]}`)); err != nil {
		f.t.Errorf("probe of %s: %v", id, err)
	}
}

func (f *fixture) refuses(kind fault.Kind, s deploy.Step) {
	f.t.Helper()
	s.Target = f.Target.Name()
	before := f.look()
	if _, err := f.Target.Start(f.t.Context(), s); fault.KindOf(err) != kind {
		f.t.Errorf("start %s: %v, want a fault of kind %s", s, err, kind)
	}
	if diff := cmp.Diff(before, f.look()); diff != "" {
		f.t.Errorf("the refused %s changed:\n%s", s, diff)
	}
}
