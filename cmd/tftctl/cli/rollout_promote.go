package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/pkg/fault"
)

func newRolloutPromoteCmd(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use: "promote", Short: "Give all traffic to the release that is held at a share of it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRolloutPromote(cmd.Context(), app) },
	}
	app.dryRunFlag(cmd)
	return cmd
}

func runRolloutPromote(ctx context.Context, app *App) error {
	p, err := app.Project()
	if err != nil {
		return err
	}
	entries, err := p.journal.Entries(ctx)
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	entry, err := deploy.HeldRelease(entries)
	if err != nil {
		return err
	}
	var held deploy.Plan
	if err := json.Unmarshal(entry.Plan, &held); err != nil {
		return fault.Wrap(fault.Corrupt, err, "the journal's plan cannot be read")
	}
	now, err := p.Observe(ctx)
	if err != nil {
		return err
	}
	goal := deploy.Goal{Verb: deploy.PromoteVerb, Release: held.Release, Percents: []int{100}}
	if aliases := p.config.Model.Versions.Aliases; len(aliases) > 0 {
		goal.Last = aliases[len(aliases)-1]
	}
	plan, err := deploy.NewPlan(now, goal)
	if err != nil {
		return err
	}
	return p.carryOut(ctx, plan, true)
}
