package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/pkg/version"
)

func newVersionCmd(app *App) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show what this program was built from", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return app.Show(versionResult{version.Get()}) },
	}
}

type versionResult struct{ version.Info }

func (r versionResult) Text(t *text) error {
	_, err := fmt.Fprintf(t, "tftctl %s %s %s %s\n", r.Version, r.Platform, r.Go, r.Commit)
	return err
}
