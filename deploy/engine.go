package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tftctl/tftctl/deploy/journal"
	"github.com/tftctl/tftctl/pkg/fault"
)

// Engine is the Runner that changes the world.
type Engine struct {
	Targets []Target
	Gate    Gate // after each stage that asks for it; nil: none
	Journal *journal.Journal
	By      string // who runs it, for the history
	Tell    Tell   // may be nil
}

var _ Runner = Engine{}

// undoing bounds how long undone steps are waited for.
const undoing = 5 * time.Minute

// Run carries p out: each stage's steps, then its gate. When a step or gate
// fails, what was done is undone, last first, and the error is RolledBack; or
// Mixed if that did not work out. A cancelled ctx stops it where it is, with
// the journal closed: it is Interrupted.
func (e Engine) Run(ctx context.Context, p Plan) (Report, error) {
	r := run{Engine: e, plan: p, targets: map[string]Target{}, touched: map[string]bool{}}
	if r.Tell == nil {
		r.Tell = func(Event) {}
	}
	content, err := json.Marshal(p)
	if err != nil {
		return Report{}, err
	}
	entry := journal.Entry{Verb: p.Verb, Serving: p.Serving, Leaving: p.Leaving, By: e.By, Reason: p.Reason, Plan: content}
	if p.Release != nil {
		entry.Release = p.Release.ID
	}
	r.txn, err = e.Journal.Begin(ctx, entry)
	if err != nil {
		return Report{Plan: p}, fmt.Errorf("write the journal: %w", err)
	}
	for _, t := range e.Targets {
		r.targets[t.Name()] = Journaled(Retrying(t), r.txn)
	}
	status, err := r.forward(ctx)
	report := Report{Plan: p, Txn: r.txn.ID(), Done: len(r.done), Status: status, Warnings: r.warnings}
	return report, errors.Join(err, r.close(ctx, status))
}

// run is one run of a plan.
type run struct {
	Engine
	plan     Plan
	targets  map[string]Target
	txn      *journal.Txn
	done     []Step          // that hold and were not true before
	touched  map[string]bool // targets at which this run has started something
	warnings []string
}

func (r *run) forward(ctx context.Context) (status string, err error) {
	for _, stage := range r.plan.Stages {
		err := r.stage(ctx, stage)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return journal.Interrupted, fault.Wrap(fault.Interrupted, err, "stopped at stage %q; %d steps are done", stage.Name, len(r.done)).
				WithHint("run the same command again to go on, or `tftctl rollback`")
		case fault.KindOf(err) == fault.Locked:
			return r.overtaken(err)
		case stage.Cleanup:
			r.warnings = append(r.warnings, err.Error())
		case r.plan.stays() && len(r.done) > 0:
			return journal.Failed, fault.Wrap(fault.Mixed, err, "%v; %d steps are done and stay", err, len(r.done)).
				WithHint("run the same command again: it does what is left")
		default:
			return r.back(ctx, err)
		}
	}
	if !r.plan.Final {
		return journal.Held, nil
	}
	return journal.Done, nil
}

func (r *run) stage(ctx context.Context, stage Stage) error {
	var failed error
	for i, s := range stage.Steps {
		began := time.Now()
		r.Tell(Event{Stage: stage.Name, Step: &s})
		changed, err := r.step(ctx, s)
		if changed {
			r.done = append(r.done, s)
		}
		if err != nil {
			if changed && !r.plan.stays() { // one call may have made the facts of later steps true as well
				r.done = append(r.done, stage.Steps[i+1:]...)
			}
			r.Tell(Event{Stage: stage.Name, Step: &s, Text: "failed"})
			failed = errors.Join(failed, err)
			if r.plan.stays() && ctx.Err() == nil && fault.KindOf(err) != fault.Locked {
				continue
			}
			return failed
		}
		r.Tell(Event{Stage: stage.Name, Step: &s, Took: time.Since(began)})
	}
	if failed != nil {
		return failed
	}
	if stage.Smoke != "" && r.Gate != nil {
		r.Tell(Event{Stage: stage.Name, Text: "smoke check of " + stage.Smoke})
		if err := r.Gate.Check(ctx, stage.Smoke); err != nil {
			return err
		}
	}
	if stage.Bake > 0 {
		r.Tell(Event{Stage: stage.Name, Text: "bake for " + stage.Bake.String()})
		return r.bake(ctx, stage)
	}
	return nil
}

// watching is how often a baking release is asked.
const watching = 5 * time.Second

func (r *run) bake(ctx context.Context, stage Stage) error {
	end := time.NewTimer(stage.Bake)
	defer end.Stop()
	look := time.NewTicker(watching)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			return nil
		case <-look.C:
			if stage.Smoke != "" && r.Gate != nil {
				if err := r.Gate.Check(ctx, stage.Smoke); err != nil {
					return err
				}
			}
		}
	}
}

// step makes s true and reports whether it may have changed anything.
func (r *run) step(ctx context.Context, s Step) (changed bool, err error) {
	t, ok := r.targets[s.Target]
	if !ok {
		return false, fault.Newf(fault.NotFound, "the plan names target %s, which tftctl.yaml does not", s.Target).
			WithHint("plan again with this configuration")
	}
	facts, err := t.Look(ctx)
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", s.Target, err)
	}
	if done, err := s.Expect(facts[s.Fact]); done || err != nil {
		// One call may make several facts true. Where this run has called
		// nothing, somebody else made it true, and undoing it is not ours.
		return done && r.touched[s.Target], err
	}
	r.touched[s.Target] = true
	operation, err := t.Start(ctx, s)
	if err != nil {
		// The answer may be lost while the change is made: undo must look at it.
		return fault.KindOf(err) != fault.Stale && fault.KindOf(err) != fault.Invalid, fmt.Errorf("%s: %w", s, err)
	}
	if err := t.Wait(ctx, s, operation); err != nil {
		return true, fmt.Errorf("%s: %w", s, err)
	}
	return true, nil
}

// overtaken ends a run whose journal another one has taken over. What is undone
// now is that one's business.
func (r *run) overtaken(err error) (string, error) {
	return journal.Interrupted, fault.Wrap(fault.Interrupted, err, "stopped after %d steps: %v", len(r.done), err).
		WithHint("`tftctl history` shows who went on")
}

// back undoes what was done, last first. It goes on after a failure: each
// step that can be undone brings the world nearer to what it was.
func (r *run) back(ctx context.Context, cause error) (status string, err error) {
	if len(r.done) == 0 { // nothing was changed: the cause says it all
		return journal.Failed, cause
	}
	ctx, cancel := context.WithTimeout(ctx, undoing)
	defer cancel()
	if err := r.txn.Confirm(ctx); fault.KindOf(err) == fault.Locked && err != nil {
		return r.overtaken(err)
	}
	var failed error
	for _, s := range slices.Backward(r.done) {
		back := s.Reversed()
		began := time.Now()
		r.Tell(Event{Stage: "undo", Step: &back})
		if _, err := r.step(ctx, back); err != nil {
			r.Tell(Event{Stage: "undo", Step: &back, Text: "failed"})
			failed = errors.Join(failed, err)
			if k := fault.KindOf(err); k == fault.Unavailable || k == fault.Timeout {
				break // nobody is there: the other steps would wait as long, in vain
			}
			continue
		}
		r.Tell(Event{Stage: "undo", Step: &back, Took: time.Since(began)})
	}
	if failed != nil {
		return journal.Failed, fault.Wrap(fault.Mixed, errors.Join(cause, failed), "%v; undoing did not finish: %v", cause, failed).
			WithHint("look with `tftctl status`, then `tftctl rollback`")
	}
	r.done = nil
	return journal.RolledBack, fault.Wrap(fault.RolledBack, cause, "%v; everything was put back", cause).
		WithHint("the last good release serves; `tftctl history` has the record")
}

// close writes the end of the run into the journal, also after ctx has ended.
func (r *run) close(ctx context.Context, status string) error {
	after := map[string]map[string]string{}
	if status == journal.Done || status == journal.Held {
		looking, cancel := context.WithTimeout(ctx, callPatience)
		defer cancel()
		snap, err := Observe(looking, r.Targets...)
		if err != nil { // what is done must not stay unsaid: each step was confirmed when it was made
			snap = r.plan.after()
		}
		for t, facts := range snap {
			after[t] = facts
		}
	}
	err := r.txn.End(ctx, status, after)
	if fault.KindOf(err) == fault.Locked && err != nil {
		return nil // whoever took over has closed it
	}
	if err != nil {
		return fmt.Errorf("close the journal: %w", err)
	}
	return nil
}
