// Package config is tftctl.yaml: strictly decoded, one environment laid over
// the rest.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
)

// Schema is the version of the file's form.
const Schema = "tftctl/v1"

// Config is one environment of a file, with defaults filled in.
type Config struct {
	Schema             string            `yaml:"schema"`
	Name               string            `yaml:"name"`
	Labels             map[string]string `yaml:"labels"`
	DefaultEnvironment string            `yaml:"default_environment"`

	Endpoint string `yaml:"endpoint"` // local, google, or HOST:PORT
	Project  string `yaml:"project"`
	Region   string `yaml:"region"`
	Bucket   string `yaml:"bucket"` // gs://NAME

	Model   Model   `yaml:"model"`
	Image   string  `yaml:"image"`
	Targets Targets `yaml:"targets"`
	Rollout Rollout `yaml:"rollout"`

	// Environment is the overlay that was chosen.
	Environment string `yaml:"-"`
	// Path is the file it was read from.
	Path string `yaml:"-"`
}

// Model is what is released.
type Model struct {
	Name     string   `yaml:"name"`
	Dir      string   `yaml:"dir"` // of the bundle, relative to the file
	Versions Versions `yaml:"versions"`
}

// Versions is how versions are named.
type Versions struct {
	Scheme string `yaml:"scheme"`
	// Aliases move with a release: the first to what is being tried, the last
	// to what has all traffic.
	Aliases []string `yaml:"aliases"`
}

// Targets is where a release goes: to each that is named.
type Targets struct {
	CloudRun *CloudRun `yaml:"cloud_run"`
	Vertex   *Vertex   `yaml:"vertex"`
}

// CloudRun is a Cloud Run service.
type CloudRun struct {
	Service              string   `yaml:"service"`
	ExecutionEnvironment string   `yaml:"execution_environment"`
	CPU                  int      `yaml:"cpu"`
	Memory               string   `yaml:"memory"`
	CPUIdle              *bool    `yaml:"cpu_idle"`
	StartupCPUBoost      *bool    `yaml:"startup_cpu_boost"`
	Concurrency          int      `yaml:"concurrency"`
	Timeout              Duration `yaml:"timeout"`
	MinInstances         int      `yaml:"min_instances"`
	MaxInstances         int      `yaml:"max_instances"`
	Ingress              string   `yaml:"ingress"`
	ServiceAccount       string   `yaml:"service_account"`
}

// Vertex is a Vertex AI endpoint.
type Vertex struct {
	Endpoint       string `yaml:"endpoint"`
	MachineType    string `yaml:"machine_type"`
	MinReplicas    int    `yaml:"min_replicas"`
	MaxReplicas    int    `yaml:"max_replicas"`
	ServiceAccount string `yaml:"service_account"`
}

// Rollout is how a release advances.
type Rollout struct {
	Strategy string   `yaml:"strategy"` // dark, canary, all
	Steps    []int    `yaml:"steps"`    // whole percents, then 100
	Bake     Duration `yaml:"bake"`
	Timeout  Duration `yaml:"timeout"`
}

// Duration is a time.Duration that is written as 30s, 10m, 90d.
type Duration time.Duration

// UnmarshalYAML reads a duration.
func (d *Duration) UnmarshalYAML(content []byte) error {
	text := strings.Trim(strings.TrimSpace(string(content)), `"'`)
	days, isDays := strings.CutSuffix(text, "d")
	if isDays {
		text = days + "h"
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		return fault.Newf(fault.Invalid, "%q is no duration", strings.TrimSpace(string(content))).WithHint("write 30s, 10m, 2h or 90d")
	}
	if isDays {
		v *= 24
	}
	*d = Duration(v)
	return nil
}

// Strategies are the ways to advance that are built.
var Strategies = []string{"dark", "canary", "all"}

// strategiesToCome are known and not built yet.
var strategiesToCome = []string{"bluegreen", "rolling"}

// LocalProject is the project of the local cloud where none is named.
const LocalProject = "local-dev"

// ImageOfThisRelease is what a release's image is where the file names none.
const ImageOfThisRelease = "ghcr.io/tftctl/tftserve"

// fill gives c the defaults.
func (c *Config) fill(version string) {
	def(&c.Endpoint, "local")
	if c.Endpoint != "google" {
		def(&c.Project, LocalProject)
	}
	def(&c.Region, "us-central1")
	def(&c.Model.Name, "forecast")
	def(&c.Model.Versions.Scheme, "number")
	if c.Model.Versions.Aliases == nil {
		c.Model.Versions.Aliases = []string{"candidate", "stable"}
	}
	def(&c.Image, ImageOfThisRelease+":"+version)
	if r := c.Targets.CloudRun; r != nil {
		def(&r.Service, c.Name)
		def(&r.ExecutionEnvironment, "gen2")
		def(&r.CPU, 1)
		def(&r.Memory, "1GiB")
		yes := true
		def(&r.CPUIdle, &yes)
		def(&r.StartupCPUBoost, &yes)
		def(&r.Concurrency, 80)
		def(&r.Timeout, Duration(5*time.Minute))
		def(&r.MaxInstances, 1)
		def(&r.Ingress, "all")
	}
	if v := c.Targets.Vertex; v != nil {
		def(&v.Endpoint, c.Name)
		def(&v.MachineType, "n1-standard-2")
		def(&v.MinReplicas, 1)
		def(&v.MaxReplicas, max(1, v.MinReplicas))
	}
	def(&c.Rollout.Strategy, "all")
	if c.Rollout.Steps == nil {
		c.Rollout.Steps = []int{10, 50}
	}
	def(&c.Rollout.Timeout, Duration(90*time.Minute))
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// check returns everything that is wrong with c.
func (c *Config) check() (wrong []error) {
	bad := func(hint, format string, args ...any) {
		e := fault.Newf(fault.Invalid, format, args...)
		e.Hint = hint
		wrong = append(wrong, e)
	}
	if c.Schema != Schema {
		bad("write schema: "+Schema, "schema is %q, want %q", c.Schema, Schema)
	}
	for field, name := range map[string]string{"name": c.Name, "model.name": c.Model.Name} {
		if err := model.CheckName(name); err != nil {
			bad(fault.HintOf(err), "%s: %v", field, err)
		}
	}
	if c.Project == "" {
		bad("set project, --project or GOOGLE_CLOUD_PROJECT", "project is missing")
	}
	if bucket, ok := strings.CutPrefix(c.Bucket, "gs://"); !ok || bucket == "" || strings.Contains(bucket, "/") {
		bad("write bucket: gs://NAME", "bucket %q is not of the form gs://NAME", c.Bucket)
	}
	if c.Targets.CloudRun == nil && c.Targets.Vertex == nil {
		bad("name targets.cloud_run, targets.vertex or both", "there is no target")
	}
	if c.Model.Versions.Scheme != "number" {
		bad("versions are whole numbers: write scheme: number", "model.versions.scheme %q is not built yet", c.Model.Versions.Scheme)
	}
	for _, a := range c.Model.Versions.Aliases {
		if err := model.CheckAlias(a); err != nil {
			bad(fault.HintOf(err), "model.versions.aliases: %v", err)
		}
	}
	switch s := c.Rollout.Strategy; {
	case slices.Contains(strategiesToCome, s):
		bad("use "+strings.Join(Strategies, ", "), "rollout.strategy %q is not built yet", s)
	case !slices.Contains(Strategies, s):
		bad("use "+strings.Join(Strategies, ", "), "rollout.strategy %q is unknown", s)
	}
	if err := CheckSteps(c.Rollout.Steps); err != nil {
		bad(fault.HintOf(err), "rollout.steps: %v", err)
	}
	if r := c.Targets.CloudRun; r != nil && r.ExecutionEnvironment != "gen1" && r.ExecutionEnvironment != "gen2" {
		bad("use gen2 or gen1", "targets.cloud_run.execution_environment %q is unknown", r.ExecutionEnvironment)
	}
	return wrong
}

// CheckSteps refuses steps that are no way from 1 to 100 percent.
func CheckSteps(steps []int) error {
	for i, pc := range steps {
		if pc < 1 || pc > 100 || i > 0 && pc <= steps[i-1] {
			return fault.Newf(fault.Invalid, "%v do not rise within 1 to 100", steps).WithHint("whole percents such as 1,5,25,50; 100 follows by itself")
		}
	}
	return nil
}

// SettingsDigest names what the targets are configured with, so that a release
// with other settings is another release.
func (c *Config) SettingsDigest() model.Digest {
	content, err := json.Marshal(struct {
		Labels  map[string]string
		Targets Targets
	}{c.Labels, c.Targets})
	if err != nil { // plain data always encodes
		panic(err)
	}
	sum := sha256.Sum256(content)
	return model.Digest("sha256:" + hex.EncodeToString(sum[:]))
}
