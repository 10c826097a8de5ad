package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/pkg/fault"
)

func newUndeployCmd(app *App) *cobra.Command {
	var approved bool
	var only string
	cmd := &cobra.Command{
		Use: "undeploy", Short: "Remove what this environment deployed, and nothing else", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runUndeploy(cmd.Context(), app, only, approved) },
	}
	cmd.Flags().BoolVar(&approved, "auto-approve", false, "do not ask")
	cmd.Flags().StringVar(&only, "only", "", "run, vertex, or both with a comma (default: all targets)")
	app.dryRunFlag(cmd)
	return cmd
}

func runUndeploy(ctx context.Context, app *App, only string, approved bool) error {
	p, err := app.Project()
	if err != nil {
		return err
	}
	targets, err := p.only(only)
	if err != nil {
		return err
	}
	now, err := p.Observe(ctx)
	if err != nil {
		return err
	}
	if only == "" {
		if err := p.knowsAll(ctx, now); err != nil {
			return err
		}
	}
	plan, err := deploy.NewPlan(now, deploy.Goal{Verb: deploy.UndeployVerb, Remove: targets})
	if err != nil {
		return err
	}
	return p.carryOut(ctx, plan, approved)
}

// knowsAll refuses to call it a whole removal where the journal knows of
// targets that the configuration does not name any more.
func (p *Project) knowsAll(ctx context.Context, now deploy.Snapshot) error {
	entries, err := p.journal.Entries(ctx)
	if err != nil && fault.KindOf(err) != fault.NotFound { // no bucket yet: no journal
		return fmt.Errorf("read the journal: %w", err)
	}
	if forgotten := deploy.Forgotten(entries, now); len(forgotten) > 0 {
		return fault.Newf(fault.Blocked, "%s was deployed by this environment and is not in %s any more", strings.Join(forgotten, " and "), p.config.Path).
			WithHint("restore its name and region there to remove it too, or name what is to be removed: --only run,vertex")
	}
	return nil
}

// only returns the names of the targets of the kinds that only lists, of all
// where it is empty.
func (p *Project) only(only string) (names []string, err error) {
	for kind := range strings.SplitSeq(only, ",") {
		n := len(names)
		for _, t := range p.serving() {
			if only == "" || strings.HasPrefix(t.Name(), kind+"/") {
				names = append(names, t.Name())
			}
		}
		if len(names) == n {
			return nil, fault.Newf(fault.NotFound, "%s has no target %q", p.config.Path, kind).WithHint("use run, vertex, or both with a comma")
		}
	}
	return names, nil
}
