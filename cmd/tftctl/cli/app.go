package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/deploy/alias"
	"github.com/tftctl/tftctl/deploy/cloudrun"
	"github.com/tftctl/tftctl/deploy/journal"
	"github.com/tftctl/tftctl/deploy/lock"
	"github.com/tftctl/tftctl/deploy/vertex"
	"github.com/tftctl/tftctl/pkg/config"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/gcp"
	"github.com/tftctl/tftctl/pkg/gcs"
	"github.com/tftctl/tftctl/pkg/registry"
	"github.com/tftctl/tftctl/pkg/version"
)

// App is the wired program.
type App struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	env, dir, configFile string
	project, region      string
	image                string
	format               string
	endpoint             string
	quiet, verbose       bool
	noColor, noInput     bool
	dryRun               bool
	prepared             bool            // flags are read
	ambient              map[string]bool // flags that a variable gave

	exit    int    // of a command that succeeded
	failed  result // of a run that failed
	closers []func()
}

// flags gives root the flags of all commands.
func (a *App) flags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVarP(&a.env, "env", "e", "", "environment of tftctl.yaml")
	f.StringVarP(&a.dir, "chdir", "C", "", "work as if started in this folder")
	f.StringVar(&a.configFile, "config", "tftctl.yaml", "configuration file")
	f.StringVar(&a.project, "project", "", "Google Cloud project")
	f.StringVar(&a.region, "region", "", "region")
	f.StringVarP(&a.format, "format", "o", "text", "text or json")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "show what lies beneath an error")
	f.BoolVar(&a.noColor, "no-color", false, "no colour")
	f.BoolVar(&a.noInput, "no-input", false, "never ask")
	f.StringVar(&a.endpoint, "endpoint-override", "", "address of a local cloud, such as http://127.0.0.1:9470")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) }
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fault.Wrap(fault.Invalid, err, "%v", err).WithHint("`%s --help` lists the flags", cmd.CommandPath())
	})
}

// prepare fills flags from the environment and checks what all commands share.
func (a *App) prepare(cmd *cobra.Command) error {
	var wrong error
	a.ambient = map[string]bool{}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		name := "TFTCTL_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value := os.Getenv(name); value != "" && !f.Changed && wrong == nil {
			if err := cmd.Flags().Set(f.Name, value); err != nil {
				wrong = fault.Wrap(fault.Invalid, err, "%s=%q: %v", name, value, err)
			}
			a.ambient[f.Name] = true
		}
	})
	if wrong != nil {
		return wrong
	}
	a.prepared = true
	if a.format != "text" && a.format != "json" {
		bad := a.format
		a.format = "text"
		return fault.Newf(fault.Invalid, "-o %q is neither text nor json", bad)
	}
	if os.Getenv("NO_COLOR") != "" {
		a.noColor = true
	}
	if a.dir != "" {
		if err := os.Chdir(a.dir); err != nil {
			return fault.Wrap(fault.Invalid, err, "-C %s: %v", a.dir, err)
		}
	}
	return nil
}

func (a *App) close() {
	for _, c := range a.closers {
		c()
	}
}

// dryRunFlag gives cmd --dry-run, which every changing command has.
func (a *App) dryRunFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "check and show, change nothing")
}

// Config returns the configuration with the flags laid over it.
func (a *App) Config() (*config.Config, error) {
	project := a.project
	if project == "" {
		project = os.Getenv("GOOGLE_CLOUD_PROJECT")
	}
	return config.Read(a.configFile, config.Options{
		Environment: a.env, Project: project, Region: a.region, Image: a.image, Version: version.Get().Version,
	})
}

// Project is one environment of one configuration, wired: everything that a
// command needs to look at the world and to change it. In order of dependence.
type Project struct {
	app      *App
	config   *config.Config
	place    gcp.Endpoint
	bucket   *gcs.Bucket
	registry *registry.Registry
	run      *cloudrun.Service // nil: not a target
	vertex   *vertex.Endpoint  // nil: not a target
	targets  []deploy.Target
	journal  *journal.Journal
	lock     *lock.Lock
	urgent   bool // takes the lock from whoever holds it
}

// Project wires the configured environment. It asks nobody anything.
func (a *App) Project() (*Project, error) {
	c, err := a.Config()
	if err != nil {
		return nil, err
	}
	place, err := a.place(c)
	if err != nil {
		return nil, err
	}
	p := &Project{app: a, config: c, place: place}
	p.bucket = gcs.Open(place, strings.TrimPrefix(c.Bucket, "gs://"))
	p.registry = registry.New(p.bucket, c.Model.Name)
	if err := p.wireTargets(); err != nil {
		return nil, err
	}
	state := "tftctl/" + c.Name + "/" + c.Environment
	p.journal = journal.New(p.bucket, state+"/journal/")
	p.lock = lock.New(p.bucket, state+"/lock.json", who())
	return p, nil
}

func (p *Project) wireTargets() error {
	c := p.config
	aliases := alias.New(alias.InBucket(p.bucket, c.Model.Name), "bucket", c.Model.Name)
	if r := c.Targets.CloudRun; r != nil {
		settings := runSettings(c)
		if err := settings.Check(); err != nil {
			return fmt.Errorf("%s: %w", c.Path, err)
		}
		p.run = cloudrun.New(p.place, r.Service, settings)
		p.targets = append(p.targets, p.run)
	}
	if v := c.Targets.Vertex; v != nil {
		settings := vertexSettings(c)
		if err := settings.Check(); err != nil {
			return fmt.Errorf("%s: %w", c.Path, err)
		}
		p.vertex = vertex.New(p.place, v.Endpoint, c.Model.Name, settings)
		p.targets = append(p.targets, p.vertex)
		aliases = alias.New(p.vertex, p.place.Region, c.Model.Name)
	}
	p.targets = append(p.targets, aliases)
	return nil
}

// Runner is what carries out plans. A rehearsal changes nothing, so it takes no lock.
func (p *Project) Runner(gate deploy.Gate) deploy.Runner {
	if p.app.dryRun {
		return deploy.Rehearsal(p.targets)
	}
	engine := deploy.Engine{Targets: p.targets, Gate: gate, Journal: p.journal, By: who(), Tell: teller(p.app)}
	l := p.lock
	if p.urgent {
		l = l.Seizing()
	}
	return deploy.Locked(engine, l)
}

// Observe looks at every target once.
func (p *Project) Observe(ctx context.Context) (deploy.Snapshot, error) {
	return deploy.Observe(ctx, p.targets...)
}

// place returns where Google is: the flag, or the configuration's endpoint.
func (a *App) place(c *config.Config) (gcp.Endpoint, error) {
	place := gcp.Endpoint{Project: c.Project, Region: c.Region}
	name := a.endpoint
	if name == "" {
		name = c.Endpoint
	}
	switch name {
	case "google":
		return place, nil
	case "local":
		running, err := readLocal(defaultLocalDir())
		if err != nil {
			return place, err
		}
		name = running.Endpoint
	}
	if err := config.CheckEndpoint(name); err != nil {
		return place, err
	}
	if u, err := url.Parse(name); err == nil && u.Host != "" {
		name = u.Host
	}
	place.Address = name
	if c.Endpoint == "google" && a.endpoint != "" {
		fmt.Fprintf(a.stderr, "note: --endpoint-override sends this to %s instead of Google\n", placeName(place))
	}
	return place, nil
}

// placeName says to people where Google is answered.
func placeName(place gcp.Endpoint) string {
	if place.Address == "" {
		return "Google"
	}
	return "http://" + place.Address
}

// who says who runs this program, for the lock and the history.
func who() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = filepath.Base(u.Username)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s@%s pid %d", name, host, os.Getpid())
}
