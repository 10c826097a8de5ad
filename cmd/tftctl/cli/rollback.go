package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/deploy/journal"
	"github.com/tftctl/tftctl/pkg/fault"
)

func newRollbackCmd(app *App) *cobra.Command {
	var to, reason string
	cmd := &cobra.Command{
		Use: "rollback", Short: "Go back to the last good release: traffic and aliases", Args: cobra.NoArgs,
		Example: "  tftctl rollback --reason 'latency'\n  tftctl rollback --to v12",
		RunE:    func(cmd *cobra.Command, _ []string) error { return runRollback(cmd.Context(), app, to, reason) },
	}
	cmd.Flags().StringVar(&to, "to", "last-good", "last-good, a version such as v12, or a release")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the history")
	app.dryRunFlag(cmd)
	return cmd
}

func runRollback(ctx context.Context, app *App, to, reason string) error {
	p, err := app.Project()
	if err != nil {
		return err
	}
	p.urgent = true
	plan, err := p.wayBack(ctx, to, reason)
	if err != nil {
		return err
	}
	return p.carryOut(ctx, plan, true)
}

// wayBack looks at the world and returns the plan that goes back.
func (p *Project) wayBack(ctx context.Context, to, reason string) (deploy.Plan, error) {
	now, err := p.Observe(ctx)
	if err != nil {
		return deploy.Plan{}, err
	}
	good, err := p.good(ctx, to, now)
	if err != nil {
		return deploy.Plan{}, err
	}
	goal, err := p.restore(good, now)
	if err != nil {
		return deploy.Plan{}, err
	}
	goal.Reason = reason
	return deploy.NewPlan(now, goal)
}

// good returns the transaction to go back to.
func (p *Project) good(ctx context.Context, to string, now deploy.Snapshot) (journal.Entry, error) {
	entries, err := p.journal.Entries(ctx)
	if err != nil {
		return journal.Entry{}, fmt.Errorf("read the journal: %w", err)
	}
	if to == "last-good" {
		return journal.LastGood(entries, leaving(entries, now))
	}
	for _, e := range slices.Backward(entries) {
		if e.Status == journal.Done && (e.Serving == to || strings.HasPrefix(e.Serving, to+"-")) {
			return e, nil
		}
	}
	return journal.Entry{}, fault.Newf(fault.NotFound, "no release %s passed its gates here", to).WithHint("`tftctl history` shows what did")
}

// leaving returns the release to leave: the one whose rollout has not come to
// its end, or which a rollback has not quite left; otherwise the one with the
// most traffic.
func leaving(entries []journal.Entry, now deploy.Snapshot) string {
	if len(entries) == 0 {
		return now.Serving()
	}
	last := entries[len(entries)-1]
	switch {
	case last.Status == journal.Done || last.Status == journal.RolledBack:
	case last.Verb == deploy.RollbackVerb:
		return last.Leaving
	case last.Release != "":
		return last.Release
	}
	return now.Serving()
}

// restore returns the goal that brings back traffic and aliases as they were
// after good. What good did not know is left as it is.
func (p *Project) restore(good journal.Entry, now deploy.Snapshot) (deploy.Goal, error) {
	goal := deploy.Goal{Verb: deploy.RollbackVerb, Serving: good.Serving, Splits: map[string]deploy.Split{}, Aliases: map[string]string{}}
	for _, t := range p.serving() {
		facts, known := good.After[t.Name()]
		if !known {
			continue
		}
		split, err := deploy.Facts(facts).Split()
		if err != nil {
			return goal, fmt.Errorf("the journal's split of %s: %w", t.Name(), err)
		}
		goal.Splits[t.Name()] = split
	}
	pointers := p.targets[len(p.targets)-1].Name()
	for fact := range now[pointers] { // an alias that did not point anywhere then must not now
		goal.Aliases[strings.TrimPrefix(fact, deploy.AliasFact+" ")] = ""
	}
	for fact, value := range good.After[pointers] {
		goal.Aliases[strings.TrimPrefix(fact, deploy.AliasFact+" ")] = value
	}
	return goal, nil
}
