package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/deploy/journal"
	"github.com/tftctl/tftctl/pkg/fault"
)

func newHistoryCmd(app *App) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "history", Short: "Show what was released, by whom, and how it ended", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return fault.Newf(fault.Invalid, "--limit %d is not at least 1", limit)
			}
			return runHistory(cmd.Context(), app, limit)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "at most this many, the newest last")
	return cmd
}

func runHistory(ctx context.Context, app *App, limit int) error {
	p, err := app.Project()
	if err != nil {
		return err
	}
	entries, err := p.journal.Entries(ctx)
	if err != nil && fault.KindOf(err) != fault.NotFound { // no bucket yet: nothing was released
		return fmt.Errorf("read the journal: %w", err)
	}
	r := historyResult{}
	for _, e := range entries[max(0, len(entries)-limit):] {
		r = append(r, historyOf(e))
	}
	return app.Show(r)
}

// historyEntry is a transaction without its plan.
type historyEntry struct {
	ID      string         `json:"id"`
	Started time.Time      `json:"started"`
	Ended   time.Time      `json:"ended,omitzero"`
	Verb    string         `json:"verb"`
	Release string         `json:"release,omitempty"`
	Serving string         `json:"serving,omitempty"`
	Leaving string         `json:"leaving,omitempty"`
	Status  string         `json:"status"`
	By      string         `json:"by"`
	Reason  string         `json:"reason,omitempty"`
	Steps   []journal.Step `json:"steps"`
}

func historyOf(e journal.Entry) historyEntry {
	return historyEntry{e.ID, e.Started, e.Ended, e.Verb, e.Release, e.Serving, e.Leaving, e.Status, e.By, e.Reason, e.Steps}
}

type historyResult []historyEntry

func (r historyResult) Text(t *text) error {
	var rows [][]string
	for _, e := range r {
		took := "running"
		if !e.Ended.IsZero() {
			took = e.Ended.Sub(e.Started).Round(time.Millisecond).String()
		}
		rows = append(rows, []string{e.ID, e.Started.Local().Format(time.DateTime), e.Verb, e.Release, orDash(e.Leaving) + " -> " + orDash(e.Serving), e.Status, took, e.By, e.Reason})
	}
	return t.table([]string{"id", "started", "verb", "release", "serving", "status", "took", "by", "reason"}, rows)
}
