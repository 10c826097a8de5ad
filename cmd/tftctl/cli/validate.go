package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newValidateCmd(app *App) *cobra.Command {
	return &cobra.Command{
		Use: "validate", Short: "Check tftctl.yaml without a network", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runValidate(app) },
	}
}

func runValidate(app *App) error {
	c, err := app.Config()
	if err != nil {
		return err
	}
	r := validateResult{File: c.Path, Environment: c.Environment}
	if c.Targets.CloudRun != nil {
		if err := runSettings(c).Check(); err != nil {
			return fmt.Errorf("%s: %w", c.Path, err)
		}
		r.Targets = append(r.Targets, "run/"+c.Region+"/"+c.Targets.CloudRun.Service)
	}
	if c.Targets.Vertex != nil {
		if err := vertexSettings(c).Check(); err != nil {
			return fmt.Errorf("%s: %w", c.Path, err)
		}
		r.Targets = append(r.Targets, "vertex/"+c.Region+"/"+c.Targets.Vertex.Endpoint)
	}
	return app.Show(r)
}

type validateResult struct {
	File        string   `json:"file"`
	Environment string   `json:"environment"`
	Targets     []string `json:"targets"`
}

func (r validateResult) Text(t *text) error {
	_, err := fmt.Fprintf(t, "%s is valid for environment %s: %v\n", r.File, r.Environment, r.Targets)
	return err
}
