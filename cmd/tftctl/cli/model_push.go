package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/pkg/registry"
)

func newModelPushCmd(app *App) *cobra.Command {
	var number int
	cmd := &cobra.Command{
		Use: "push <dir>", Short: "Store a bundle as a version that never changes", Args: oneArg("the bundle's folder"),
		Example: "  tftctl model push ./models/forecast",
		RunE: func(cmd *cobra.Command, args []string) error {
			version := model.Version(0)
			if cmd.Flags().Changed("version") {
				var err error
				if version, err = model.ParseVersion(strconv.Itoa(number)); err != nil {
					return fmt.Errorf("--version: %w", err)
				}
			}
			return runModelPush(cmd.Context(), app, args[0], version)
		},
	}
	cmd.Flags().IntVar(&number, "version", 0, "version number (default: the next one)")
	app.dryRunFlag(cmd)
	return cmd
}

func runModelPush(ctx context.Context, app *App, dir string, v model.Version) error {
	bundle, err := model.OpenBundle(dir, "")
	if err != nil {
		return err
	}
	p, err := app.Project()
	if err != nil {
		return err
	}
	if app.dryRun {
		return app.Show(modelPushResult{Record: registry.Record{Name: bundle.Manifest.Name, Version: v, Digest: bundle.Digest, Bytes: bundle.Manifest.Size()}, DryRun: true})
	}
	if err := p.bucket.Ensure(ctx); err != nil {
		return err
	}
	rec, created, err := p.registry.Push(ctx, bundle, v, progress(app))
	if err != nil {
		return fmt.Errorf("push %s: %w", dir, err)
	}
	return app.Show(modelPushResult{Record: rec, Created: created})
}

// progress returns what tells of bytes sent, once a second.
func progress(app *App) func(done, all int64) {
	last := time.Now()
	return func(done, all int64) {
		if now := time.Now(); now.Sub(last) > time.Second {
			last = now
			app.Say("pushing: %d of %d KiB", done>>10, all>>10)
		}
	}
}

type modelPushResult struct {
	registry.Record
	Created bool `json:"created"`
	DryRun  bool `json:"dry_run,omitempty"`
}

func (r modelPushResult) Text(t *text) error {
	verb := "is there already as"
	switch {
	case r.DryRun:
		_, err := fmt.Fprintf(t, "would push %s, %d KiB, sha256:%s\n", r.Name, r.Bytes>>10, r.Digest.Short())
		return err
	case r.Created:
		verb = "pushed as"
	}
	_, err := fmt.Fprintf(t, "%s %s@%d, %d KiB, sha256:%s\n", verb, r.Name, r.Version, r.Bytes>>10, r.Digest.Short())
	return err
}

// oneArg is cobra.ExactArgs(1) with a message that says what is missing.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fault.Newf(fault.Invalid, "%s takes %s", cmd.CommandPath(), what).WithHint("usage: %s", cmd.UseLine())
		}
		return nil
	}
}
