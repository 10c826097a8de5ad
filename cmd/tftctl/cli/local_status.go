package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/pkg/fault"
)

func newLocalStatusCmd(app *App) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "status", Short: "Show whether the local cloud runs, and what in it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runLocalStatus(cmd.Context(), app, dir) },
	}
	cmd.Flags().StringVar(&dir, "dir", "", localDirUsage)
	return cmd
}

func runLocalStatus(ctx context.Context, app *App, dir string) error {
	dir, err := localDir(dir)
	if err != nil {
		return err
	}
	info, inside, err := findLocal(ctx, dir)
	if err != nil {
		return err
	}
	return app.Show(localStatusResult{info, inside})
}

// findLocal returns the local cloud with its state in dir, which must answer.
func findLocal(ctx context.Context, dir string) (localInfo, localInside, error) {
	info, err := readLocal(dir)
	if err != nil {
		return info, localInside{}, err
	}
	inside, err := askLocal(ctx, info)
	if err != nil {
		err = fault.Wrap(fault.Unavailable, err, "no local cloud answers at %s", info.URL).WithHint("start it with `tftctl local up --detach --dir %s`", dir)
	}
	return info, inside, err
}

// askLocal returns what a running local cloud says of itself.
func askLocal(ctx context.Context, info localInfo) (localInside, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var inside localInside
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, info.URL+"/_local/status", nil)
	if err != nil {
		return inside, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return inside, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return inside, fault.Newf(fault.Unavailable, "%s answers %d: it is no local cloud", info.URL, resp.StatusCode)
	}
	return inside, json.NewDecoder(resp.Body).Decode(&inside)
}

// localInside is the part of /_local/status that is shown.
type localInside struct {
	Project   string `json:"project"`
	Requests  int    `json:"requests"`
	Instances []struct {
		Name     string `json:"name"`
		Kind     string `json:"kind"`
		PID      int    `json:"pid"`
		State    string `json:"state"`
		Restarts int    `json:"restarts"`
	} `json:"instances"`
}

type localStatusResult struct {
	localInfo
	localInside
}

func (r localStatusResult) Text(t *text) error {
	if err := r.localInfo.Text(t); err != nil {
		return err
	}
	var rows [][]string
	for _, i := range r.Instances {
		rows = append(rows, []string{i.Name, i.Kind, i.State, strconv.Itoa(i.PID), strconv.Itoa(i.Restarts)})
	}
	if len(rows) > 0 {
		if err := t.table([]string{"instance", "kind", "state", "pid", "restarts"}, rows); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(t, "%d requests served\n", r.Requests)
	return err
}
