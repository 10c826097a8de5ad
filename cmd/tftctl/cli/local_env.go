package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/pkg/config"
)

func newLocalEnvCmd(app *App) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "env", Short: "Print what points the official clients, gcloud and Terraform at the local cloud", Args: cobra.NoArgs,
		Example: "  eval \"$(tftctl local env)\"",
		RunE:    func(cmd *cobra.Command, _ []string) error { return runLocalEnv(cmd.Context(), app, dir) },
	}
	cmd.Flags().StringVar(&dir, "dir", "", localDirUsage)
	return cmd
}

func runLocalEnv(ctx context.Context, app *App, dir string) error {
	dir, err := localDir(dir)
	if err != nil {
		return err
	}
	info, _, err := findLocal(ctx, dir)
	if err != nil {
		return err
	}
	project, region := config.LocalProject, "us-central1"
	if app.project != "" {
		project = app.project
	}
	if app.region != "" {
		region = app.region
	}
	_, port, _ := strings.Cut(info.Endpoint, ":")
	return app.Show(localEnvResult{
		{"TFTCTL_ENDPOINT_OVERRIDE", info.URL, "tftctl"},
		{"STORAGE_EMULATOR_HOST", info.Endpoint, "the official Cloud Storage clients"},
		{"GOOGLE_CLOUD_PROJECT", project, "the official clients"},
		{"GOOGLE_CLOUD_REGION", region, ""},
		{"CLOUDSDK_CORE_PROJECT", project, "gcloud"},
		{"CLOUDSDK_CORE_DISABLE_PROMPTS", "1", ""},
		{"CLOUDSDK_RUN_REGION", region, ""},
		{"CLOUDSDK_AI_REGION", region, ""},
		{"CLOUDSDK_AUTH_DISABLE_CREDENTIALS", "true", ""},
		{"CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN", info.URL + "/", ""},
		{"CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM", info.URL + "/", ""},
		{"CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", info.URL + "/", ""},
		{"CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE", info.URL + "/storage/v1/", ""},
		{"CLOUDSDK_PROXY_TYPE", "http", "gcloud run puts the region before the host: this resolves it here"},
		{"CLOUDSDK_PROXY_ADDRESS", "127.0.0.1", ""},
		{"CLOUDSDK_PROXY_PORT", port, ""},
		{"GOOGLE_PROJECT", project, "Terraform's google provider"},
		{"GOOGLE_REGION", region, ""},
		{"GOOGLE_OAUTH_ACCESS_TOKEN", "local", ""},
		{"GOOGLE_CLOUD_RUN_V2_CUSTOM_ENDPOINT", info.URL + "/v2/", ""},
		{"GOOGLE_VERTEX_AI_CUSTOM_ENDPOINT", info.URL + "/v1/", ""},
		{"GOOGLE_SECRET_MANAGER_CUSTOM_ENDPOINT", info.URL + "/v1/", ""},
		{"GOOGLE_STORAGE_CUSTOM_ENDPOINT", info.URL + "/storage/v1/", ""},
	})
}

// localEnvResult is exports in order; a comment begins those of one program.
type localEnvResult []struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Comment string `json:"for,omitempty"`
}

func (r localEnvResult) Text(t *text) error {
	for _, e := range r {
		if e.Comment != "" {
			if _, err := fmt.Fprintf(t, "# %s\n", e.Comment); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(t, "export %s='%s'\n", e.Name, e.Value); err != nil {
			return err
		}
	}
	return nil
}
