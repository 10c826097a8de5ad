package cli

import (
	"context"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
)

func newTrafficSetCmd(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use: "set <version>=<percent>,...", Short: "Share traffic among releases that are ready", Args: oneArg("a whole split, such as v12=90,v13=10"),
		Example: "  tftctl traffic set v12=90,v13=10",
		RunE: func(cmd *cobra.Command, args []string) error {
			split, err := deploy.ParseSplit(args[0])
			if err != nil {
				return err
			}
			if len(split) == 0 {
				return fault.Newf(fault.Invalid, "the split is empty").WithHint("such as `tftctl traffic set v12=90,v13=10`")
			}
			return runTrafficSet(cmd.Context(), app, split)
		},
	}
	app.dryRunFlag(cmd)
	return cmd
}

func runTrafficSet(ctx context.Context, app *App, want deploy.Split) error {
	p, err := app.Project()
	if err != nil {
		return err
	}
	now, err := p.Observe(ctx)
	if err != nil {
		return err
	}
	goal := deploy.Goal{Verb: deploy.TrafficVerb, Splits: map[string]deploy.Split{}}
	for _, t := range p.serving() {
		if goal.Splits[t.Name()], err = named(want, t.Name(), now[t.Name()]); err != nil {
			return err
		}
	}
	plan, err := deploy.NewPlan(now, goal)
	if err != nil {
		return err
	}
	return p.carryOut(ctx, plan, true)
}

// named returns want with versions, v13, replaced by the release that is ready
// at the target, v13-3f9a1c2b.
func named(want deploy.Split, target string, facts deploy.Facts) (deploy.Split, error) {
	out := deploy.Split{}
	for _, name := range want.Names() {
		id, err := releaseCalled(name, target, facts)
		if err != nil {
			return nil, err
		}
		out[id] += want[name]
	}
	return out, nil
}

func releaseCalled(name, target string, facts deploy.Facts) (string, error) {
	ready := facts.Releases()
	if slices.Contains(ready, name) {
		return name, nil
	}
	var found []string
	if v, err := model.ParseVersion(name); err == nil {
		for _, id := range ready {
			if deploy.VersionOf(id) == v {
				found = append(found, id)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fault.Newf(fault.NotFound, "%s has no ready release %s", target, name).WithHint("ready there: %v; `tftctl deploy` makes a release ready", ready)
	}
	return "", fault.Newf(fault.Invalid, "%s has several releases of %s: %v", target, name, found).WithHint("name one of them")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
