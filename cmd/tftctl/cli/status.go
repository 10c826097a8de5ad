package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/deploy/lock"
	"github.com/tftctl/tftctl/pkg/fault"
)

func newStatusCmd(app *App) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show what serves what", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runStatus(cmd.Context(), app) },
	}
}

func runStatus(ctx context.Context, app *App) error {
	p, err := app.Project()
	if err != nil {
		return err
	}
	now, err := p.Observe(ctx)
	if err != nil {
		return err
	}
	r := statusResult{Environment: p.config.Environment, Project: p.place.Project, Endpoint: placeName(p.place), Targets: []targetStatus{}, Aliases: map[string]string{}}
	for _, t := range p.serving() {
		split, err := now[t.Name()].Split()
		if err != nil {
			return fmt.Errorf("%s: %w", t.Name(), err)
		}
		r.Targets = append(r.Targets, targetStatus{t.Name(), orAbsent(now[t.Name()][deploy.PlaceFact]), split, append([]string{}, now[t.Name()].Releases()...)})
	}
	for fact, v := range now[p.targets[len(p.targets)-1].Name()] {
		r.Aliases[strings.TrimPrefix(fact, deploy.AliasFact+" ")] = v
	}
	if err := p.addJournal(ctx, &r); err != nil {
		return err
	}
	if p.run != nil && now[p.run.Name()][deploy.PlaceFact] != "" {
		if r.URL, err = p.run.URL(ctx, ""); err != nil {
			return err
		}
	}
	return app.Show(r)
}

// addJournal adds the last transaction and the lock. A bucket that does not
// exist yet has neither.
func (p *Project) addJournal(ctx context.Context, r *statusResult) error {
	entries, err := p.journal.Entries(ctx)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	if len(entries) > 0 {
		last := historyOf(entries[len(entries)-1])
		r.Last = &last
	}
	state, _, err := p.lock.Look(ctx)
	if err != nil {
		return err
	}
	if state.Holder != "" && time.Now().Before(state.Expires) {
		r.Lock = &state
	}
	return nil
}

type statusResult struct {
	Environment string            `json:"environment"`
	Project     string            `json:"project"`
	Endpoint    string            `json:"endpoint"` // Google, or the address that stands for it
	URL         string            `json:"url,omitempty"`
	Targets     []targetStatus    `json:"targets"`
	Aliases     map[string]string `json:"aliases"`
	Last        *historyEntry     `json:"last,omitempty"`
	Lock        *lock.State       `json:"lock,omitempty"`
}

type targetStatus struct {
	Name     string       `json:"name"`
	Place    string       `json:"place"`
	Split    deploy.Split `json:"split"`
	Releases []string     `json:"ready"`
}

func (r statusResult) Text(t *text) error {
	var rows [][]string
	for _, target := range r.Targets {
		rows = append(rows, []string{target.Name, target.Place, orNobody(target.Split), strings.Join(target.Releases, ", ")})
	}
	if err := t.table([]string{"target", "place", "split", "ready"}, rows); err != nil {
		return err
	}
	lines := []string{"endpoint\t" + r.Endpoint}
	for _, alias := range sortedKeys(r.Aliases) {
		lines = append(lines, "alias\t"+alias+"\t"+r.Aliases[alias])
	}
	if r.URL != "" {
		lines = append(lines, "url\t"+r.URL)
	}
	if r.Last != nil {
		lines = append(lines, fmt.Sprintf("last\t%s %s %s %s", r.Last.ID, r.Last.Verb, r.Last.Release, r.Last.Status))
	}
	if r.Lock != nil {
		lines = append(lines, fmt.Sprintf("lock\t%s since %s", r.Lock.Holder, r.Lock.Since.Format(time.RFC3339)))
	}
	_, err := fmt.Fprintln(t, strings.Join(lines, "\n"))
	return err
}
