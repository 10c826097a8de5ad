package deploy_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/deploy/journal"
	"github.com/tftctl/tftctl/deploy/lock"
	"github.com/tftctl/tftctl/pkg/blob"
	"github.com/tftctl/tftctl/pkg/fault"
)

// world is two targets that serve and the aliases, with an engine over them.
type world struct {
	run, vertex, aliases *place
	store                *blob.Memory
	engine               deploy.Engine
}

func newWorld(now deploy.Snapshot) *world {
	w := &world{run: newPlace(run), vertex: newPlace(vertex), aliases: newPlace(aliases), store: new(blob.Memory)}
	w.run.facts, w.vertex.facts, w.aliases.facts = now[run], now[vertex], now[aliases]
	targets := []deploy.Target{w.run, w.vertex, w.aliases}
	w.engine = deploy.Engine{
		Targets: targets, Journal: journal.New(w.store, "journal/"), By: "test",
		Gate: deploy.Smoke{Targets: targets, Sample: []byte("{}")},
	}
	return w
}

func (w *world) plan(t *testing.T, g deploy.Goal) deploy.Plan {
	t.Helper()
	plan, err := deploy.NewPlan(w.look(t), g)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func (w *world) look(t *testing.T) deploy.Snapshot {
	t.Helper()
	now, err := deploy.Observe(context.Background(), w.engine.Targets...)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

func (w *world) entries(t *testing.T) []journal.Entry {
	t.Helper()
	entries, err := w.engine.Journal.Entries(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestARolloutThatGoesWell(t *testing.T) {
	t.Parallel()
	w := newWorld(serving())
	two := release(2)
	report, err := w.engine.Run(t.Context(), w.plan(t, deploy.Goal{Verb: "deploy", Release: &two, Percents: []int{10, 100}, Last: "stable"}))
	if err != nil || report.Status != journal.Done {
		t.Fatalf("status %s, %v", report.Status, err)
	}
	for _, p := range []*place{w.run, w.vertex} {
		if got := p.facts["split"]; got != two.ID+"=100" {
			t.Errorf("%s: split %s", p.name, got)
		}
	}
	e := w.entries(t)
	if len(e) != 1 || e[0].Status != journal.Done || e[0].Serving != two.ID || e[0].Leaving != release(1).ID {
		t.Errorf("journal: %+v", e)
	}
	if len(e[0].Steps) != report.Done || e[0].Steps[0].Operation == "" || e[0].Steps[0].Ended.IsZero() {
		t.Errorf("the journal has %d steps, the report %d: %+v", len(e[0].Steps), report.Done, e[0].Steps)
	}
	if diff := cmp.Diff(w.look(t)[run], deploy.Facts(e[0].After[run])); diff != "" {
		t.Errorf("the journal remembers other facts:\n%s", diff)
	}
}

func TestAFailedGatePutsEverythingBack(t *testing.T) {
	t.Parallel()
	w := newWorld(serving())
	before := w.look(t)
	two := release(2)
	w.vertex.probe = func(id string) error {
		if w.vertex.facts["split"] != release(1).ID+"=100" {
			return errors.New("the answer is nonsense")
		}
		return nil
	}
	report, err := w.engine.Run(t.Context(), w.plan(t, deploy.Goal{Verb: "deploy", Release: &two, Percents: []int{10, 100}, First: "candidate"}))
	if fault.KindOf(err) != fault.RolledBack || report.Status != journal.RolledBack {
		t.Fatalf("status %s, %v; want RolledBack", report.Status, err)
	}
	if !strings.Contains(err.Error(), "the answer is nonsense") || fault.HintOf(err) == "" {
		t.Errorf("the message does not name the cause: %v (hint %q)", err, fault.HintOf(err))
	}
	if diff := cmp.Diff(before, w.look(t)); diff != "" {
		t.Errorf("after going back (-before +after):\n%s", diff)
	}
}

func TestUndoingThatFailsIsMixed(t *testing.T) {
	t.Parallel()
	w := newWorld(serving())
	two := release(2)
	w.vertex.fail = func(s deploy.Step) error {
		if s.Fact == "split" && s.To != release(1).ID+"=100" {
			return fault.Newf(fault.Denied, "no permission to move traffic")
		}
		return nil
	}
	w.run.fail = func(s deploy.Step) error {
		if s.Fact == "split" && s.To == release(1).ID+"=100" {
			return fault.Newf(fault.Denied, "no permission to go back")
		}
		return nil
	}
	_, err := w.engine.Run(t.Context(), w.plan(t, deploy.Goal{Verb: "deploy", Release: &two, Percents: []int{10}}))
	if fault.KindOf(err) != fault.Mixed || !strings.Contains(err.Error(), "no permission to go back") {
		t.Fatalf("%v, want Mixed with the reason", err)
	}
	// What could be undone was: the release at Vertex AI is gone again.
	if w.vertex.facts["release "+two.ID] != "" {
		t.Error("undoing stopped at the first failure")
	}
}

func TestAStalePlanChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(serving())
	two := release(2)
	plan := w.plan(t, deploy.Goal{Verb: "deploy", Release: &two, Percents: []int{10}})
	w.run.facts["split"] = "somebody-else=100"
	w.run.facts["release "+two.ID] = "ready" // prepared already, so the split is the first to differ
	w.vertex.facts["model "+two.ID] = "ready"
	w.vertex.facts["release "+two.ID] = "ready"
	_, err := w.engine.Run(t.Context(), plan)
	if fault.KindOf(err) != fault.Stale || fault.HintOf(err) == "" {
		t.Fatalf("%v (hint %q), want Stale with a hint", err, fault.HintOf(err))
	}
	if got := w.run.facts["release "+two.ID]; got != "ready" {
		t.Error("what somebody else had made ready was undone")
	}
	if got := w.run.facts["split"]; got != "somebody-else=100" {
		t.Errorf("the split of somebody else became %s", got)
	}
}

func TestACallThatNobodyAnsweredIsRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(serving())
		two := release(2)
		failures := 2
		w.run.fail = func(deploy.Step) error {
			if failures > 0 {
				failures--
				return errAway
			}
			return nil
		}
		if _, err := w.engine.Run(t.Context(), w.plan(t, deploy.Goal{Verb: "deploy", Release: &two})); err != nil {
			t.Errorf("after two failures: %v", err)
		}
		failures = 100
		three := release(3)
		_, err := w.engine.Run(t.Context(), w.plan(t, deploy.Goal{Verb: "deploy", Release: &three}))
		if err == nil {
			t.Error("a target that never answers: no error")
		}
	})
}

func TestASignalClosesTheJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(serving())
	two := release(2)
	ctx, cancel := context.WithCancel(t.Context())
	w.vertex.hook = func(context.Context) { cancel() }
	report, err := w.engine.Run(ctx, w.plan(t, deploy.Goal{Verb: "deploy", Release: &two, Percents: []int{10}}))
	if fault.KindOf(err) != fault.Interrupted || report.Status != journal.Interrupted {
		t.Fatalf("status %s, %v; want Interrupted", report.Status, err)
	}
	e := w.entries(t)
	if e[0].Status != journal.Interrupted {
		t.Errorf("the journal says %s", e[0].Status)
	}
	last := e[0].Steps[len(e[0].Steps)-1]
	if !last.Ended.IsZero() {
		t.Errorf("the abandoned step is said to have ended: %+v", last)
	}
	// The same command again goes on from there.
	w.vertex.hook = nil
	if _, err := w.engine.Run(t.Context(), w.plan(t, deploy.Goal{Verb: "deploy", Release: &two, Percents: []int{10}})); err != nil {
		t.Errorf("the second run: %v", err)
	}
	if n := len(slices.DeleteFunc(slices.Clone(w.run.starts), func(s string) bool { return !strings.HasPrefix(s, "release") })); n != 1 {
		t.Errorf("the release was made %d times", n)
	}
}

func TestABakingReleaseIsWatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(serving())
		two := release(2)
		began := time.Now()
		asked := 0
		w.run.probe = func(string) error {
			asked++
			if time.Since(began) > 7*time.Minute {
				return errors.New("it has become slow")
			}
			return nil
		}
		_, err := w.engine.Run(t.Context(), w.plan(t, deploy.Goal{Verb: "deploy", Release: &two, Percents: []int{10, 100}, Bake: 10 * time.Minute}))
		if fault.KindOf(err) != fault.RolledBack {
			t.Errorf("%v, want RolledBack", err)
		}
		if took := time.Since(began); took < 7*time.Minute || took > 8*time.Minute {
			t.Errorf("it was noticed after %s, want shortly after 7m", took)
		}
		if got := w.run.facts["split"]; got != release(1).ID+"=100" {
			t.Errorf("split %s", got)
		}
	})
}

func TestOneRunAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(serving())
		two := release(2)
		plan := w.plan(t, deploy.Goal{Verb: "deploy", Release: &two, Percents: []int{10, 100}, Bake: time.Hour})
		first := make(chan error, 1)
		go func() {
			_, err := deploy.Locked(w.engine, lock.New(w.store, "lock.json", "first")).Run(context.Background(), plan)
			first <- err
		}()
		synctest.Wait()
		_, err := deploy.Locked(w.engine, lock.New(w.store, "lock.json", "second")).Run(t.Context(), plan)
		if fault.KindOf(err) != fault.Locked || !strings.Contains(err.Error(), "first") {
			t.Errorf("the second: %v, want Locked by the first", err)
		}
		if err := <-first; err != nil {
			t.Errorf("the first: %v", err)
		}
		_, err = deploy.Locked(w.engine, lock.New(w.store, "lock.json", "third")).Run(t.Context(), w.plan(t, deploy.Goal{Verb: "deploy", Release: &two, Percents: []int{100}}))
		if err != nil {
			t.Errorf("after the first has ended: %v", err)
		}
	})
}

// What a rollback has reached it keeps, and it reaches what it can.
func TestARollbackKeepsWhatItHasReached(t *testing.T) {
	t.Parallel()
	now := serving()
	two := release(2)
	for _, target := range []string{run, vertex} {
		now[target]["release "+two.ID] = "ready"
		now[target]["split"] = two.ID + "=100"
	}
	w := newWorld(now)
	broken := true
	w.run.fail = func(deploy.Step) error {
		if broken {
			return fault.Newf(fault.Denied, "no permission to move traffic")
		}
		return nil
	}
	goal := deploy.Goal{Verb: deploy.RollbackVerb, Splits: map[string]deploy.Split{run: {release(1).ID: 100}, vertex: {release(1).ID: 100}}}
	_, err := w.engine.Run(t.Context(), w.plan(t, goal))
	if fault.KindOf(err) != fault.Mixed || !strings.Contains(err.Error(), "no permission to move traffic") {
		t.Errorf("%v, want Mixed with the reason", err)
	}
	if got := w.vertex.facts["split"]; got != release(1).ID+"=100" {
		t.Errorf("Vertex AI could go back and has %s", got)
	}
	broken = false
	if _, err := w.engine.Run(t.Context(), w.plan(t, goal)); err != nil || w.run.facts["split"] != release(1).ID+"=100" {
		t.Errorf("the same again: %v, split %s", err, w.run.facts["split"])
	}
}

// A rollback does not wait for the rollout that it is to end, nor does that
// one put anything back behind its back.
func TestARollbackTakesOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(serving())
		one, two := release(1), release(2)
		plan := w.plan(t, deploy.Goal{Verb: "deploy", Release: &two, Percents: []int{10, 100}, Bake: time.Hour})
		first := make(chan error, 1)
		go func() {
			_, err := deploy.Locked(w.engine, lock.New(w.store, "lock.json", "first")).Run(context.Background(), plan)
			first <- err
		}()
		synctest.Wait()
		back := w.plan(t, deploy.Goal{Verb: "rollback", Splits: map[string]deploy.Split{run: {one.ID: 100}, vertex: {one.ID: 100}}})
		began := time.Now()
		if _, err := deploy.Locked(w.engine, lock.New(w.store, "lock.json", "rollback").Seizing()).Run(t.Context(), back); err != nil {
			t.Fatalf("the rollback: %v", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it waited %s", took)
		}
		if err := <-first; fault.KindOf(err) != fault.Interrupted {
			t.Errorf("the rollout: %v, want Interrupted", err)
		}
		for _, p := range []*place{w.run, w.vertex} {
			if got := p.facts["split"]; got != one.ID+"=100" {
				t.Errorf("%s: split %s after both have ended", p.name, got)
			}
		}
		if e := w.entries(t); e[0].Status != journal.Interrupted || e[1].Status != journal.Done {
			t.Errorf("the journal says %s and %s", e[0].Status, e[1].Status)
		}
	})
}

func TestARehearsalChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(serving())
	before := w.look(t)
	two := release(2)
	plan := w.plan(t, deploy.Goal{Verb: "deploy", Release: &two, Percents: []int{10, 100}})
	report, err := deploy.Rehearsal(w.engine.Targets).Run(t.Context(), plan)
	if err != nil || report.Status != "rehearsed" {
		t.Errorf("status %s, %v", report.Status, err)
	}
	if diff := cmp.Diff(before, w.look(t)); diff != "" {
		t.Errorf("it changed:\n%s", diff)
	}
	w.run.facts["split"] = "somebody-else=100"
	if _, err := deploy.Rehearsal(w.engine.Targets).Run(t.Context(), plan); fault.KindOf(err) != fault.Stale {
		t.Errorf("a rehearsal of a stale plan: %v, want Stale", err)
	}
	if names, _ := w.store.List(t.Context(), ""); len(names) != 0 {
		t.Errorf("it wrote %v", names)
	}
}

// A success is written down even where nobody can look at it any more.
func TestASuccessThatCannotBeLookedAtIsStillASuccess(t *testing.T) {
	t.Parallel()
	w := newWorld(serving())
	two := release(2)
	plan := w.plan(t, deploy.Goal{Verb: deploy.DeployVerb, Release: &two, Percents: []int{100}})
	w.aliases.blind = func() error {
		if w.vertex.facts["split"] == two.ID+"=100" {
			return fault.Newf(fault.Denied, "the aliases cannot be read")
		}
		return nil
	}
	if report, err := w.engine.Run(t.Context(), plan); err != nil || report.Status != journal.Done {
		t.Fatalf("status %s, %v", report.Status, err)
	}
	e := w.entries(t)[0]
	if id := deploy.After(e).Alone(); e.Status != journal.Done || id != two.ID {
		t.Errorf("the journal says %s, and that %q serves", e.Status, id)
	}
}

// signalling is a store in which a signal arrives during the first write.
type signalling struct {
	*blob.Memory
	signal func()
}

func (s signalling) Put(ctx context.Context, name string, content []byte, over int64) (int64, error) {
	s.signal()
	return s.Memory.Put(ctx, name, content, over)
}

func TestASignalWhileTheLockIsTakenLeavesItFree(t *testing.T) {
	t.Parallel()
	w := newWorld(serving())
	two := release(2)
	plan := w.plan(t, deploy.Goal{Verb: deploy.DeployVerb, Release: &two})
	ctx, cancel := context.WithCancel(t.Context())
	store := signalling{w.store, cancel}
	w.engine.Journal = journal.New(store, "journal/")
	_, err := deploy.Locked(w.engine, lock.New(store, "lock.json", "me")).Run(ctx, plan)
	if err == nil {
		t.Error("a run that was cancelled at once: no error")
	}
	state, _, err := lock.New(w.store, "lock.json", "next").Look(t.Context())
	if err != nil || state.Holder != "" {
		t.Errorf("the lock is held by %q, %v", state.Holder, err)
	}
	for _, e := range w.entries(t) {
		if e.Status == journal.Running {
			t.Errorf("the journal says that %s still runs", e.ID)
		}
	}
}
