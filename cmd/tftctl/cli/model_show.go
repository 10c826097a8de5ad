package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/pkg/model"
)

func newModelShowCmd(app *App) *cobra.Command {
	return &cobra.Command{
		Use: "show <ref>", Short: "Show a version: digest, inputs, outputs, where it serves", Args: oneArg("NAME@VERSION or NAME@ALIAS"),
		Example: "  tftctl model show forecast@13\n  tftctl model show forecast@stable",
		RunE:    func(cmd *cobra.Command, args []string) error { return runModelShow(cmd.Context(), app, args[0]) },
	}
}

func runModelShow(ctx context.Context, app *App, ref string) error {
	p, err := app.Project()
	if err != nil {
		return err
	}
	rec, err := p.resolve(ctx, ref)
	if err != nil {
		return err
	}
	r := modelShowResult{}
	content, err := p.registry.ReadFile(ctx, rec.Digest, model.ManifestFile)
	if err != nil {
		return err
	}
	if r.Manifest, err = model.ReadManifest(content); err != nil {
		return err
	}
	if content, err = p.registry.ReadFile(ctx, rec.Digest, model.SchemaFile); err != nil {
		return err
	}
	if r.Schema, err = model.ReadSchema(content); err != nil {
		return err
	}
	now, err := p.Observe(ctx)
	if err != nil {
		return err
	}
	r.versionInfo = describe(rec, now)
	if p.vertex != nil {
		if r.Vertex, err = p.vertex.Versions(ctx); err != nil {
			return err
		}
	}
	return app.Show(r)
}

type modelShowResult struct {
	versionInfo
	Manifest model.Manifest    `json:"manifest"`
	Schema   model.Schema      `json:"model_schema"`
	Vertex   map[string]string `json:"vertex_versions,omitempty"` // Vertex AI's version number by release
}

func (r modelShowResult) Text(t *text) error {
	lines := []string{
		fmt.Sprintf("model     %s@%d", r.Name, r.Version),
		"digest    " + string(r.Digest),
		fmt.Sprintf("size      %d KiB in %d files", r.Bytes>>10, len(r.Manifest.Files)),
		"pushed    " + r.PushedAt.String(),
		"aliases   " + orDash(strings.Join(r.Aliases, ", ")),
	}
	for _, d := range r.Deployed {
		lines = append(lines, "serves    "+d)
	}
	for id, n := range r.Vertex {
		if strings.HasPrefix(id, r.Version.String()+"-") {
			lines = append(lines, "vertex    "+id+" is model version "+n+" there")
		}
	}
	for _, in := range r.Schema.Inputs {
		lines = append(lines, fmt.Sprintf("input     %-14s %s %v", in.Name, in.DType, in.Shape))
	}
	for _, out := range r.Schema.Outputs {
		lines = append(lines, fmt.Sprintf("output    %-14s %s %v %s", out.Name, out.DType, out.Shape, out.Unit))
	}
	_, err := fmt.Fprintln(t, strings.Join(lines, "\n"))
	return err
}
