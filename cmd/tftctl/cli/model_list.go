package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/registry"
)

func newModelListCmd(app *App) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the versions of the model", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runModelList(cmd.Context(), app) },
	}
}

func runModelList(ctx context.Context, app *App) error {
	p, err := app.Project()
	if err != nil {
		return err
	}
	records, err := p.registry.List(ctx)
	if err != nil && fault.KindOf(err) != fault.NotFound { // no bucket yet: nothing was pushed
		return err
	}
	now, err := p.Observe(ctx)
	if err != nil {
		return err
	}
	list := modelListResult{}
	for _, rec := range records {
		list = append(list, describe(rec, now))
	}
	return app.Show(list)
}

// versionInfo is a version with what points to it and what serves it.
type versionInfo struct {
	registry.Record
	Aliases  []string `json:"aliases"`
	Deployed []string `json:"deployed"` // TARGET RELEASE PERCENT
}

func describe(rec registry.Record, now deploy.Snapshot) versionInfo {
	v := versionInfo{Record: rec, Aliases: []string{}, Deployed: []string{}}
	for _, target := range now.Names() {
		facts := now[target]
		for fact, value := range facts {
			if alias, ok := strings.CutPrefix(fact, deploy.AliasFact+" "); ok && value == rec.Version.String() {
				v.Aliases = append(v.Aliases, alias)
			}
		}
		split, _ := facts.Split() // a split that cannot be read has no shares to show
		for _, id := range facts.Releases() {
			if deploy.VersionOf(id) == rec.Version {
				v.Deployed = append(v.Deployed, fmt.Sprintf("%s %s %d%%", target, id, split[id]))
			}
		}
	}
	slices.Sort(v.Aliases)
	return v
}

type modelListResult []versionInfo

func (r modelListResult) Text(t *text) error {
	var rows [][]string
	for _, v := range r {
		rows = append(rows, []string{
			fmt.Sprintf("%s@%d", v.Name, v.Version), v.Digest.Short(), fmt.Sprintf("%d KiB", v.Bytes>>10),
			v.PushedAt.Format(time.RFC3339), strings.Join(v.Aliases, ","), strings.Join(v.Deployed, "; "),
		})
	}
	return t.table([]string{"model", "sha256", "size", "pushed", "aliases", "deployed"}, rows)
}
