package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/deploy/journal"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/term"
)

func newDeployCmd(app *App) *cobra.Command {
	var flags rolloutFlags
	var approved bool
	cmd := &cobra.Command{
		Use: "deploy [planfile]", Short: "Release a model version to every target", Args: cobra.MaximumNArgs(1),
		Example: "  tftctl deploy --model forecast@13 --strategy canary --steps 1,10,50",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := app.planfileAlone(cmd, args); err != nil {
				return err
			}
			flags.bakeSet = cmd.Flags().Changed("bake")
			return runDeploy(cmd.Context(), app, flags, args, approved)
		},
	}
	flags.add(app, cmd)
	cmd.Flags().BoolVar(&approved, "auto-approve", false, "do not ask")
	app.dryRunFlag(cmd)
	return cmd
}

// planfileAlone refuses the flags that a plan in a file has decided already.
// Variables of the environment are defaults for any command and stay unused.
func (a *App) planfileAlone(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	for _, name := range rolloutFlagNames {
		if cmd.Flags().Changed(name) && !a.ambient[name] {
			return fault.Newf(fault.Invalid, "--%s does not go with a plan file: %s says already what is released and how", name, args[0]).
				WithHint("leave --%s out, or make another plan: `tftctl plan --%s … --out FILE`", name, name)
		}
	}
	return nil
}

func runDeploy(ctx context.Context, app *App, flags rolloutFlags, args []string, approved bool) error {
	p, err := app.Project()
	if err != nil {
		return err
	}
	var plan deploy.Plan
	if len(args) == 1 {
		plan, err = p.planFrom(ctx, args[0])
	} else {
		plan, err = p.plan(ctx, flags)
	}
	if err != nil {
		return err
	}
	return p.carryOut(ctx, plan, approved)
}

// carryOut asks, runs plan and shows what came of it.
func (p *Project) carryOut(ctx context.Context, plan deploy.Plan, approved bool) error {
	report, err := p.execute(ctx, plan, approved)
	return p.app.showReport(report, err)
}

// execute asks and runs plan.
func (p *Project) execute(ctx context.Context, plan deploy.Plan, approved bool) (deploy.Report, error) {
	if plan.Empty() {
		return deploy.Report{Plan: plan, Status: "nothing to do"}, nil
	}
	if !p.app.dryRun && !approved {
		if err := p.app.confirm(planResult{plan}, fmt.Sprintf("Carry this out in project %s at %s?", p.place.Project, placeName(p.place))); err != nil {
			return deploy.Report{}, err
		}
	}
	var gate deploy.Gate
	for _, stage := range plan.Stages {
		if stage.Smoke != "" && gate == nil && !p.app.dryRun {
			var err error
			if gate, err = p.smoke(ctx, plan, stage.Smoke); err != nil {
				return deploy.Report{}, err
			}
		}
	}
	return p.Runner(gate).Run(ctx, plan)
}

// showReport shows how far a run came, and returns err, why it came no further.
func (a *App) showReport(report deploy.Report, err error) error {
	switch {
	case err == nil:
		return a.Show(reportResult{report})
	case report.Txn == "": // it never began: there is nothing to report
		return err
	}
	return a.ShowFailed(reportResult{report}, err)
}

// planFrom returns the plan in the file at path, if the world is still as it saw it.
func (p *Project) planFrom(ctx context.Context, path string) (deploy.Plan, error) {
	plan, err := readPlan(path)
	if err != nil {
		return plan, err
	}
	_, err = deploy.Rehearsal(p.targets).Run(ctx, plan)
	return plan, err
}

func readPlan(path string) (deploy.Plan, error) {
	var plan deploy.Plan
	content, err := os.ReadFile(path)
	if err != nil {
		return plan, fault.Wrap(fault.Invalid, err, "the plan %s cannot be read", path).WithHint("`tftctl plan --out FILE` writes one")
	}
	if err := json.Unmarshal(content, &plan); err != nil {
		return plan, fault.Wrap(fault.Malformed, err, "%s is no plan: %v", path, err).WithHint("`tftctl plan --out FILE` writes one")
	}
	return plan, plan.Check()
}

// confirm shows what and asks on a terminal; elsewhere it refuses and names the flag.
func (a *App) confirm(what result, question string) error {
	if a.noInput || !term.IsTerminal(a.stderr) || !isTerminalIn(a.stdin) {
		return fault.Newf(fault.Blocked, "this changes what is deployed, and nobody can be asked").
			WithHint("add --auto-approve, or --dry-run to see what it would do")
	}
	if err := what.Text(&text{Writer: a.stderr, terminal: true, width: term.Width(a.stderr)}); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil {
		return fault.Wrap(fault.Interrupted, err, "no answer")
	}
	if !strings.EqualFold(strings.TrimSpace(line), "y") {
		return fault.Newf(fault.Blocked, "not approved; nothing was changed")
	}
	return nil
}

func isTerminalIn(in any) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(f)
}

type reportResult struct{ deploy.Report }

func (r reportResult) Text(t *text) error {
	if r.Plan.Empty() {
		_, err := fmt.Fprintln(t, "nothing to do")
		return err
	}
	if r.Status == "rehearsed" {
		if err := (planResult{r.Plan}).Text(t); err != nil {
			return err
		}
		_, err := fmt.Fprintln(t, "dry run: nothing was changed")
		return err
	}
	line := r.Plan.Verb + " " + r.Status
	switch r.Status {
	case journal.Done, journal.Held, journal.Interrupted: // otherwise steps were undone, or some were: the error says which
		line += fmt.Sprintf(": %d of %d steps", r.Done, r.Plan.StepCount())
	}
	if r.Plan.Release != nil {
		line += ", release " + r.Plan.Release.ID
	}
	if r.Plan.Serving != "" && (r.Status == journal.Done || r.Status == journal.Held) {
		line += ", serving " + r.Plan.Serving
	}
	if r.Txn != "" {
		line += ", journal " + r.Txn
	}
	for _, w := range r.Warnings {
		line += "\nwarning: " + w
	}
	_, err := fmt.Fprintln(t, line)
	return err
}
