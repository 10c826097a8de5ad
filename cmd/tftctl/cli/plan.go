package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/pkg/config"
	"github.com/tftctl/tftctl/pkg/fault"
)

// rolloutFlags say what is released and how it advances; the configuration
// says what they leave out.
type rolloutFlags struct {
	model    string
	strategy string
	steps    string
	bake     time.Duration
	hold     bool
	bakeSet  bool
}

// rolloutFlagNames are the flags that add adds.
var rolloutFlagNames = []string{"image", "model", "strategy", "steps", "bake", "hold"}

func (f *rolloutFlags) add(app *App, cmd *cobra.Command) {
	cmd.Flags().StringVar(&app.image, "image", "", "image of tftserve, by digest (default: the file's)")
	cmd.Flags().StringVar(&f.model, "model", "", "NAME@VERSION or NAME@ALIAS (default: the newest version)")
	cmd.Flags().StringVar(&f.strategy, "strategy", "", strings.Join(config.Strategies, ", ")+" (default: the file's)")
	cmd.Flags().StringVar(&f.steps, "steps", "", "percents of a canary, such as 1,5,25,50; 100 follows (default: the file's)")
	cmd.Flags().DurationVar(&f.bake, "bake", 0, "how long each step is watched (default: the file's)")
	cmd.Flags().BoolVar(&f.hold, "hold", false, "leave the canary at its last step; tftctl rollout promote goes on")
}

// goal turns flags and configuration into what is wanted.
func (p *Project) goal(ctx context.Context, f rolloutFlags) (deploy.Goal, error) {
	if f.bake < 0 {
		return deploy.Goal{}, fault.Newf(fault.Invalid, "--bake %s is less than nothing", f.bake).WithHint("such as --bake 10m; --bake 0s does not wait")
	}
	percents, err := p.percents(f)
	if err != nil {
		return deploy.Goal{}, err
	}
	rec, err := p.resolve(ctx, f.model)
	if err != nil {
		return deploy.Goal{}, err
	}
	release := p.release(rec)
	if p.run != nil {
		if err := p.run.CheckNames(release.ID); err != nil {
			return deploy.Goal{}, err
		}
	}
	g := deploy.Goal{Verb: deploy.DeployVerb, Release: &release, Percents: percents, Bake: time.Duration(p.config.Rollout.Bake)}
	if f.bakeSet {
		g.Bake = f.bake
	}
	if aliases := p.config.Model.Versions.Aliases; len(aliases) > 0 {
		g.Last = aliases[len(aliases)-1]
		if len(aliases) > 1 {
			g.First = aliases[0]
		}
	}
	return g, nil
}

func (p *Project) percents(f rolloutFlags) ([]int, error) {
	strategy := f.strategy
	if strategy == "" {
		strategy = p.config.Rollout.Strategy
	}
	if f.hold && strategy != "canary" {
		return nil, fault.Newf(fault.Invalid, "--hold goes with --strategy canary, not %s", strategy)
	}
	switch strategy {
	case "dark":
		return nil, nil
	case "all":
		return []int{100}, nil
	case "canary":
		steps := p.config.Rollout.Steps
		if f.steps != "" {
			var err error
			if steps, err = parseSteps(f.steps); err != nil {
				return nil, err
			}
		}
		if f.hold && (len(steps) == 0 || steps[len(steps)-1] == 100) {
			return nil, fault.Newf(fault.Invalid, "--hold stops at the last step, and %v leaves none below 100", steps).WithHint("name where it stops: --steps 10 --hold")
		}
		if !f.hold && (len(steps) == 0 || steps[len(steps)-1] != 100) {
			steps = append(steps[:len(steps):len(steps)], 100)
		}
		return steps, nil
	}
	return nil, fault.Newf(fault.Invalid, "--strategy %q is unknown or not built yet", strategy).WithHint("use %s", strings.Join(config.Strategies, ", "))
}

func parseSteps(s string) ([]int, error) {
	var steps []int
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return nil, fault.Newf(fault.Invalid, "--steps: %q is no whole percent", part).WithHint("such as --steps 1,5,25,50")
		}
		steps = append(steps, n)
	}
	if err := config.CheckSteps(steps); err != nil {
		return nil, fmt.Errorf("--steps: %w", err)
	}
	return steps, nil
}

func newPlanCmd(app *App) *cobra.Command {
	var flags rolloutFlags
	var out string
	var detailed bool
	cmd := &cobra.Command{
		Use: "plan", Short: "Show what deploy would do", Args: cobra.NoArgs,
		Example: "  tftctl plan --model forecast@13 --out release.plan\n  tftctl deploy release.plan",
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags.bakeSet = cmd.Flags().Changed("bake")
			return runPlan(cmd.Context(), app, flags, out, detailed)
		},
	}
	flags.add(app, cmd)
	cmd.Flags().StringVar(&out, "out", "", "write the plan to this file, for tftctl deploy FILE")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit 2 if there are changes")
	return cmd
}

func runPlan(ctx context.Context, app *App, flags rolloutFlags, out string, detailed bool) error {
	p, err := app.Project()
	if err != nil {
		return err
	}
	plan, err := p.plan(ctx, flags)
	if err != nil {
		return err
	}
	if out != "" {
		content, err := json.MarshalIndent(plan, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(out, append(content, '\n'), 0o644); err != nil {
			return fault.Wrap(fault.Invalid, err, "--out %s: %v", out, err)
		}
	}
	if detailed && !plan.Empty() {
		app.exit = exitChanges
	}
	return app.Show(planResult{plan})
}

// plan looks at the world and returns the way to what flags want.
func (p *Project) plan(ctx context.Context, flags rolloutFlags) (deploy.Plan, error) {
	goal, err := p.goal(ctx, flags)
	if err != nil {
		return deploy.Plan{}, err
	}
	now, err := p.Observe(ctx)
	if err != nil {
		return deploy.Plan{}, err
	}
	return deploy.NewPlan(now, goal)
}

type planResult struct{ deploy.Plan }

func (r planResult) Text(t *text) error {
	if r.Empty() {
		_, err := fmt.Fprintln(t, "nothing to do")
		return err
	}
	var rows [][]string
	for i, stage := range r.Stages {
		for j, s := range stage.Steps {
			rows = append(rows, []string{fmt.Sprintf("%d.%d", i+1, j+1), s.Target, s.Fact, orAbsent(s.From) + " -> " + orAbsent(s.To)})
		}
		if stage.Smoke != "" {
			rows = append(rows, []string{"", "gate", "smoke check of " + stage.Smoke, ""})
		}
		if stage.Bake > 0 {
			rows = append(rows, []string{"", "bake", stage.Bake.String(), ""})
		}
	}
	if err := t.table([]string{"step", "target", "fact", "change"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(t, "plan sha256:%s\n", r.Digest.Short())
	return err
}

func orAbsent(v string) string {
	if v == "" {
		return "absent"
	}
	return v
}
