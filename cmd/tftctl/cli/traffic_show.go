package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/deploy"
)

func newTrafficShowCmd(app *App) *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show who gets which share of the traffic", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runTrafficShow(cmd.Context(), app) },
	}
}

func runTrafficShow(ctx context.Context, app *App) error {
	p, err := app.Project()
	if err != nil {
		return err
	}
	now, err := p.Observe(ctx)
	if err != nil {
		return err
	}
	r := trafficShowResult{}
	for _, target := range p.serving() {
		split, err := now[target.Name()].Split()
		if err != nil {
			return fmt.Errorf("%s: %w", target.Name(), err)
		}
		r[target.Name()] = split
	}
	return app.Show(r)
}

// serving returns the targets that have traffic, without the aliases.
func (p *Project) serving() []deploy.Target { return p.targets[:len(p.targets)-1] }

// pointers returns the name of the target that holds the aliases.
func (p *Project) pointers() string { return p.targets[len(p.targets)-1].Name() }

type trafficShowResult map[string]deploy.Split

func (r trafficShowResult) Text(t *text) error {
	var rows [][]string
	for _, target := range sortedKeys(r) {
		rows = append(rows, []string{target, orNobody(r[target])})
	}
	return t.table([]string{"target", "split"}, rows)
}

func orNobody(s deploy.Split) string {
	if len(s) == 0 {
		return "nobody"
	}
	return s.String()
}
