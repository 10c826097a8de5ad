// Package cli is the commands of tftctl, a file each.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/version"
)

// Main runs the command line args and returns the program's exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case s := <-signals:
			cancel(signalled{s})
			signal.Stop(signals) // a second signal ends the program at once
		case <-done:
		}
	}()

	app := &App{stdin: stdin, stdout: stdout, stderr: stderr}
	return app.execute(ctx, newRootCmd(app), args)
}

// execute runs the command of root that args name, shows how it failed, and
// returns the program's exit code.
func (a *App) execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	strict(root)
	err := root.ExecuteContext(ctx)
	a.close()
	var by signalled
	code := exitCode(err)
	switch {
	case err == nil:
		return a.exit
	case errors.As(context.Cause(ctx), &by):
		err, code = interrupted(err), by.exitCode()
	}
	if !a.prepared && wantsJSON(args) {
		a.format = "json"
	}
	a.fail(err, code)
	return code
}

// Root returns all commands, for what is written about them.
func Root() *cobra.Command { return newRootCmd(&App{}) }

// signalled is the reason why the work was stopped.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return "stopped by " + s.String() }

// exitCode is what a shell reports of a program that a signal ended.
func (s signalled) exitCode() int {
	if n, ok := s.Signal.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return exitCodes[fault.Interrupted].code
}

func interrupted(err error) error {
	if fault.KindOf(err) == fault.Interrupted {
		return err
	}
	return fault.Wrap(fault.Interrupted, err, "interrupted").WithHint("run the same command again")
}

func newRootCmd(app *App) *cobra.Command {
	root := &cobra.Command{
		Use:           "tftctl",
		Short:         "Bring models safely into production on Google Cloud",
		Long:          "tftctl versions models and rolls them out to Cloud Run and Vertex AI: canary, split, rollback.\nIt works the same against Google and against the local cloud that it carries (`tftctl local up`).",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version.Get().Version,
		RunE:          runGroup,
	}
	root.SetVersionTemplate("tftctl {{.Version}}\n")
	app.flags(root)
	root.AddCommand(
		newInitCmd(app), newValidateCmd(app),
		group("model", "Push and look at model versions", newModelPushCmd(app), newModelListCmd(app), newModelShowCmd(app)),
		newPlanCmd(app), newDeployCmd(app),
		group("rollout", "Act on the release that is being rolled out", newRolloutPromoteCmd(app)),
		group("traffic", "See and set who gets traffic", newTrafficShowCmd(app), newTrafficSetCmd(app)),
		newRollbackCmd(app), newUndeployCmd(app),
		newStatusCmd(app), newHistoryCmd(app), newPredictCmd(app), newVersionCmd(app),
		group("local", "The Google APIs on loopback, with real processes behind them",
			newLocalUpCmd(app), newLocalDownCmd(app), newLocalStatusCmd(app), newLocalEnvCmd(app)),
	)
	return root
}

// group returns a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, RunE: runGroup}
	g.AddCommand(commands...)
	return g
}
