package cli

import (
	"context"
	"slices"
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
	if err := p.restrict(only); err != nil {
		return err
	}
	now, err := p.Observe(ctx)
	if err != nil {
		return err
	}
	plan, err := deploy.NewPlan(now, deploy.Goal{Verb: "undeploy", Remove: true})
	if err != nil {
		return err
	}
	return p.carryOut(ctx, plan, approved)
}

// restrict leaves only the targets of the kinds that only lists, besides the aliases.
func (p *Project) restrict(only string) error {
	if only == "" {
		return nil
	}
	var kept []deploy.Target
	for kind := range strings.SplitSeq(only, ",") {
		n := len(kept)
		for _, t := range p.serving() {
			if strings.HasPrefix(t.Name(), kind+"/") {
				kept = append(kept, t)
			}
		}
		if len(kept) == n {
			return fault.Newf(fault.NotFound, "%s has no target %q", p.config.Path, kind).WithHint("use run, vertex, or both with a comma")
		}
	}
	p.targets = slices.Concat(kept, p.targets[len(p.targets)-1:])
	return nil
}
