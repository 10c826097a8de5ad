package cli

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/pkg/fault"
)

func newLocalDownCmd(app *App) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "down", Short: "Stop the local cloud; its state stays", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runLocalDown(cmd.Context(), app, dir) },
	}
	cmd.Flags().StringVar(&dir, "dir", "", localDirUsage)
	app.dryRunFlag(cmd)
	return cmd
}

// downPatience covers the ten seconds that instances have to drain.
const downPatience = 20 * time.Second

func runLocalDown(ctx context.Context, app *App, dir string) error {
	dir, err := localDir(dir)
	if err != nil {
		return err
	}
	info, ok := answering(ctx, dir)
	if !ok {
		return app.Show(localDownResult{Dir: dir})
	}
	if app.dryRun {
		return app.Show(localDownResult{Dir: dir, PID: info.PID, DryRun: true})
	}
	process, err := os.FindProcess(info.PID)
	if err != nil {
		return err
	}
	if err := process.Signal(syscall.SIGTERM); err != nil {
		return fault.Wrap(fault.Unavailable, err, "process %d cannot be stopped: %v", info.PID, err)
	}
	if err := gone(ctx, process); err != nil {
		return err
	}
	return app.Show(localDownResult{Dir: dir, PID: info.PID, Stopped: true})
}

// gone waits until process has ended.
func gone(ctx context.Context, process *os.Process) error {
	ctx, cancel := context.WithTimeout(ctx, downPatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for process.Signal(syscall.Signal(0)) == nil {
		select {
		case <-ctx.Done():
			return fault.Newf(fault.Timeout, "process %d has not ended after %s", process.Pid, downPatience)
		case <-tick.C:
		}
	}
	return nil
}

type localDownResult struct {
	Dir     string `json:"dir"`
	PID     int    `json:"pid,omitempty"`
	Stopped bool   `json:"stopped"`
	DryRun  bool   `json:"dry_run,omitempty"`
}

func (r localDownResult) Text(t *text) error {
	line := "no local cloud runs in " + r.Dir
	switch {
	case r.DryRun:
		line = fmt.Sprintf("would stop process %d", r.PID)
	case r.Stopped:
		line = fmt.Sprintf("stopped process %d; its state stays in %s", r.PID, r.Dir)
	}
	_, err := fmt.Fprintln(t, line)
	return err
}
