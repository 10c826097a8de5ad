package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/deploy/journal"
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
	if len(entries) == 0 || entries[len(entries)-1].Status != journal.Held {
		return fault.Newf(fault.NotFound, "no release is held at a share of the traffic").WithHint("`tftctl deploy --strategy canary --hold` begins one; `tftctl history` shows what was")
	}
	var held deploy.Plan
	if err := json.Unmarshal(entries[len(entries)-1].Plan, &held); err != nil {
		return fault.Wrap(fault.Corrupt, err, "the journal's plan cannot be read")
	}
	now, err := p.Observe(ctx)
	if err != nil {
		return err
	}
	goal := deploy.Goal{Verb: "promote", Release: held.Release, Percents: []int{100}}
	if aliases := p.config.Model.Versions.Aliases; len(aliases) > 0 {
		goal.Last = aliases[len(aliases)-1]
	}
	plan, err := deploy.NewPlan(now, goal)
	if err != nil {
		return err
	}
	return p.carryOut(ctx, plan, true)
}
