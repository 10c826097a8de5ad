package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/deploy/journal"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
)

func newRollbackCmd(app *App) *cobra.Command {
	var to, reason string
	cmd := &cobra.Command{
		Use: "rollback", Short: "Go back to the last good release: traffic and aliases", Args: cobra.NoArgs,
		Example: "  tftctl rollback --reason 'latency'\n  tftctl rollback --to v12",
		RunE:    func(cmd *cobra.Command, _ []string) error { return runRollback(cmd.Context(), app, to, reason) },
	}
	cmd.Flags().StringVar(&to, "to", lastGood, "last-good, a version such as v12, or a release")
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
	plan, short, err := p.wayBack(ctx, to, reason)
	if err != nil {
		return err
	}
	report, err := p.execute(ctx, plan, true)
	if err == nil && plan.Empty() && !app.dryRun {
		err = p.settle(ctx)
	}
	switch {
	case err == nil && short != nil && app.dryRun:
		app.Say("warning: %v", short)
	case err == nil:
		err = short
	}
	return app.showReport(report, err)
}

// settle ends what a killed run has left: its lock and its open journal entry.
// Where nothing has to be moved back, that is all there is to roll back.
func (p *Project) settle(ctx context.Context) error {
	state, _, err := p.lock.Look(ctx)
	if err != nil || state.Holder == "" {
		return err
	}
	held, ctx, err := p.lock.Seizing().Acquire(ctx, deploy.RollbackVerb)
	if err != nil {
		return err
	}
	return errors.Join(p.journal.Settle(ctx), held.Release())
}

// wayBack looks at the world and returns the plan that goes back. Where the
// release is not ready at some target, which a rollback never deploys, short
// says that the plan falls short.
func (p *Project) wayBack(ctx context.Context, to, reason string) (plan deploy.Plan, short, err error) {
	now, err := p.Observe(ctx)
	if err != nil {
		return plan, nil, err
	}
	entries, err := p.journal.Entries(ctx)
	if err != nil {
		return plan, nil, fmt.Errorf("read the journal: %w", err)
	}
	for _, name := range deploy.Forgotten(entries, now) {
		p.app.Say("warning: %s served before and is not in %s any more: it is left as it is", name, p.config.Path)
	}
	var good journal.Entry
	if to == lastGood {
		good, err = deploy.LastGood(entries, now)
	} else {
		good, err = deploy.GoodCalled(entries, p.releaseName(to))
	}
	if err != nil {
		return plan, nil, err
	}
	goal, lacking, err := p.restore(good, now)
	if err != nil {
		return plan, nil, err
	}
	goal.Reason = reason
	if len(lacking) > 0 {
		short = fault.Newf(fault.Mixed, "%s is not ready at %s: traffic there stays as it is", goal.Serving, strings.Join(lacking, " and ")).
			WithHint("`tftctl deploy --model %s@%d` makes it ready there", p.config.Model.Name, deploy.VersionOf(goal.Serving))
	}
	plan, err = deploy.NewPlan(now, goal)
	return plan, short, err
}

// lastGood is --to where nothing else is said.
const lastGood = "last-good"

// releaseName returns what --to names in the form of a release: v12 for 12 and
// for forecast@12.
func (p *Project) releaseName(to string) string {
	to = strings.TrimPrefix(to, p.config.Model.Name+"@")
	if v, err := model.ParseVersion(to); err == nil {
		return v.String()
	}
	return to
}

// restore returns the goal that gives the release of good all traffic wherever
// something serves, and points our aliases where they pointed then.
func (p *Project) restore(good journal.Entry, now deploy.Snapshot) (goal deploy.Goal, lacking []string, err error) {
	after := deploy.After(good)
	id := after.Alone()
	goal = deploy.Goal{Verb: deploy.RollbackVerb, Serving: id, Splits: map[string]deploy.Split{}, Aliases: map[string]string{}}
	for _, t := range p.serving() {
		facts := now[t.Name()]
		split, err := facts.Split()
		switch {
		case err != nil:
			return goal, nil, fmt.Errorf("%s: %w", t.Name(), err)
		case facts[deploy.PlaceFact] == "":
		case facts[deploy.ReleaseFact(id)] == deploy.Ready || split[id] > 0:
			goal.Splits[t.Name()] = deploy.Split{id: 100}
		default:
			lacking = append(lacking, t.Name())
		}
	}
	if len(goal.Splits) == 0 {
		return goal, nil, fault.Newf(fault.NotFound, "%s, the last good release, is ready nowhere any more", id).
			WithHint("`tftctl deploy --model %s@%d` makes it ready again", p.config.Model.Name, deploy.VersionOf(id))
	}
	for _, name := range p.config.Model.Versions.Aliases { // others' aliases are not ours to move
		goal.Aliases[name] = after[p.pointers()][deploy.AliasFact+" "+name]
	}
	return goal, lacking, nil
}
