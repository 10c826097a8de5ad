package cli

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
)

//go:embed init.yaml
var initialFile string

func newInitCmd(app *App) *cobra.Command {
	var name string
	var force bool
	cmd := &cobra.Command{
		Use: "init", Short: "Write a tftctl.yaml to begin with", Args: cobra.NoArgs,
		Example: "  tftctl init --name forecaster",
		RunE:    func(*cobra.Command, []string) error { return runInit(app, name, force) },
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the service (default: the folder's)")
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	app.dryRunFlag(cmd)
	return cmd
}

func runInit(app *App, name string, force bool) error {
	if name == "" {
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		name = strings.ToLower(filepath.Base(dir))
	}
	if err := model.CheckName(name); err != nil {
		return fmt.Errorf("--name: %w", err)
	}
	content := strings.ReplaceAll(initialFile, "NAME", name)
	flag := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flag = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	if _, err := os.Stat(app.configFile); err == nil && !force {
		return fault.Newf(fault.Blocked, "%s is there already", app.configFile).WithHint("--force replaces it")
	}
	if app.dryRun {
		return app.Show(initResult{app.configFile, false})
	}
	f, err := os.OpenFile(app.configFile, flag, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fault.Newf(fault.Blocked, "%s is there already", app.configFile).WithHint("--force replaces it")
	}
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "%s cannot be written: %v", app.configFile, err)
	}
	if _, err := f.WriteString(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return app.Show(initResult{app.configFile, true})
}

type initResult struct {
	File    string `json:"file"`
	Written bool   `json:"written"`
}

func (r initResult) Text(t *text) error {
	if !r.Written {
		_, err := fmt.Fprintf(t, "would write %s\n", r.File)
		return err
	}
	_, err := fmt.Fprintf(t, "wrote %s; next: `tftctl local up --detach`, then `tftctl model push DIR`\n", r.File)
	return err
}
