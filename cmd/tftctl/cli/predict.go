package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/deploy/cloudrun"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/term"
)

type predictFlags struct {
	target string
	tag    string
	url    string
	repeat int
}

func newPredictCmd(app *App) *cobra.Command {
	var flags predictFlags
	cmd := &cobra.Command{
		Use: "predict <file>", Short: "Send a file of instances to what is live", Args: oneArg("a file of instances, or - for standard input"),
		Example: "  tftctl predict sample.json\n  tftctl predict --target vertex --repeat 100 sample.json",
		RunE:    func(cmd *cobra.Command, args []string) error { return runPredict(cmd.Context(), app, args[0], flags) },
	}
	cmd.Flags().StringVar(&flags.target, "target", "", "run or vertex (default: run where it is a target)")
	cmd.Flags().StringVar(&flags.tag, "tag", "", "a release at Cloud Run, whatever traffic it has")
	cmd.Flags().StringVar(&flags.url, "url", "", "address of any tftserve")
	cmd.Flags().IntVar(&flags.repeat, "repeat", 1, "how many times")
	return cmd
}

// ask sends a body and returns the answer with who gave it.
type ask func(ctx context.Context, body []byte) (answer []byte, by string, err error)

func runPredict(ctx context.Context, app *App, file string, flags predictFlags) error {
	if flags.repeat < 1 {
		return fault.Newf(fault.Invalid, "--repeat %d is not at least 1", flags.repeat)
	}
	body, err := readInstances(app, file)
	if err != nil {
		return err
	}
	send, p, err := app.asker(ctx, flags)
	if err != nil {
		return err
	}
	r := predictResult{Requests: flags.repeat, ByRelease: map[string]int{}}
	var took []time.Duration
	var answer []byte
	for range flags.repeat {
		start := time.Now()
		one, by, err := send(ctx, body)
		if err != nil {
			return fmt.Errorf("predict: %w", err)
		}
		took = append(took, time.Since(start))
		r.ByRelease[by]++
		r.Release, answer = by, one
	}
	slices.Sort(took)
	r.MillisecondsP50 = float64(took[len(took)/2].Microseconds()) / 1000
	r.MillisecondsMax = float64(took[len(took)-1].Microseconds()) / 1000
	if err := json.Unmarshal(answer, &r); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the answer cannot be read")
	}
	if p != nil && app.format == "text" {
		r.series, r.caption = p.series(ctx, body, r)
	}
	return app.Show(r)
}

func readInstances(app *App, file string) (body []byte, err error) {
	if file == "-" {
		body, err = io.ReadAll(app.stdin)
	} else {
		body, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s cannot be read: %v", file, err)
	}
	var form struct {
		Instances []json.RawMessage `json:"instances"`
	}
	if err := json.Unmarshal(body, &form); err != nil {
		return nil, fault.Wrap(fault.Malformed, err, "%s is not JSON of the form {\"instances\": […]}: %v", file, err).WithHint("a bundle's sample.json shows one")
	}
	if len(form.Instances) == 0 {
		return nil, fault.Newf(fault.Invalid, "%s holds no instances", file).WithHint("write {\"instances\": [{…}]}; a bundle's sample.json shows one")
	}
	return body, nil
}

// asker returns what sends to where flags say, and the project where there is one.
func (a *App) asker(ctx context.Context, flags predictFlags) (ask, *Project, error) {
	if flags.url != "" {
		if u, err := neturl.Parse(flags.url); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, nil, fault.Newf(fault.Invalid, "--url %q is no address", flags.url).WithHint("such as --url http://127.0.0.1:8080")
		}
		url := strings.TrimSuffix(flags.url, "/")
		return func(ctx context.Context, body []byte) ([]byte, string, error) {
			return cloudrun.Post(ctx, http.DefaultClient, url, body)
		}, nil, nil
	}
	p, err := a.Project()
	if err != nil {
		return nil, nil, err
	}
	switch {
	case flags.target == "" && p.run != nil, flags.target == "run" && p.run != nil:
		id := flags.tag
		if id != "" {
			facts, err := p.run.Look(ctx)
			if err != nil {
				return nil, nil, err
			}
			if id, err = releaseCalled(id, p.run.Name(), facts); err != nil {
				return nil, nil, err
			}
		}
		url, err := p.run.URL(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, body []byte) ([]byte, string, error) {
			return cloudrun.Post(ctx, http.DefaultClient, url, body)
		}, p, nil
	case flags.tag != "":
		return nil, nil, fault.Newf(fault.Invalid, "--tag goes with Cloud Run alone").WithHint("a Vertex AI endpoint picks the release by its split")
	case flags.target == "" || flags.target == "vertex" && p.vertex != nil:
		return p.vertex.Predict, p, nil
	}
	return nil, nil, fault.Newf(fault.NotFound, "%s has no target %q", p.config.Path, flags.target).WithHint("use run or vertex")
}

type predictResult struct {
	Predictions     []json.RawMessage `json:"predictions"`
	Release         string            `json:"release"` // that gave the last answer
	Requests        int               `json:"requests"`
	ByRelease       map[string]int    `json:"by_release"`
	MillisecondsP50 float64           `json:"ms_p50"`
	MillisecondsMax float64           `json:"ms_max"`

	series  *term.Series
	caption string
}

func (r predictResult) Text(t *text) error {
	if r.series != nil {
		if _, err := fmt.Fprintf(t, "%s\n\n", term.Forecast(*r.series, t.width, r.caption, t.colour)); err != nil {
			return err
		}
	}
	var rows [][]string
	for _, id := range sortedKeys(r.ByRelease) {
		rows = append(rows, []string{id, fmt.Sprintf("%d of %d", r.ByRelease[id], r.Requests)})
	}
	if err := t.table([]string{"release", "answered"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(t, "%d predictions, %.1f ms median, %.1f ms at most\n", len(r.Predictions), r.MillisecondsP50, r.MillisecondsMax)
	return err
}

// series returns the first instance's past and forecast, nil where the model
// is no forecaster of the form that examples/tft exports: then there is
// nothing to draw, and the numbers are printed all the same.
func (p *Project) series(ctx context.Context, body []byte, r predictResult) (*term.Series, string) {
	rec, err := p.registry.Get(ctx, deploy.VersionOf(r.Release))
	if err != nil {
		return nil, ""
	}
	features, err := p.registry.ReadFile(ctx, rec.Digest, "features.json")
	if err != nil {
		return nil, ""
	}
	schema, err := p.registry.ReadFile(ctx, rec.Digest, "schema.json")
	if err != nil {
		return nil, ""
	}
	s, caption, err := readSeries(features, schema, body, r.Predictions)
	if err != nil {
		return nil, ""
	}
	return s, caption
}
