// Package config is tftctl.yaml: strictly decoded, one environment laid over
// the rest.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
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
}

// Duration is a time.Duration that is written as 30s, 10m, 90d.
type Duration time.Duration

// UnmarshalYAML reads a duration.
func (d *Duration) UnmarshalYAML(content []byte) error {
	v, err := parseDuration(strings.Trim(strings.TrimSpace(string(content)), `"'`))
	*d = v
	return err
}

func parseDuration(s string) (Duration, error) {
	text, times := s, 1
	if days, ok := strings.CutSuffix(s, "d"); ok {
		text, times = days+"h", 24
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 || v > longest/time.Duration(times) {
		return 0, fault.Newf(fault.Invalid, "%q is no duration", s).WithHint("write 30s, 10m, 2h or 90d, at most %dd", longest/(24*time.Hour))
	}
	return Duration(int64(v) * int64(times)), nil
}

// longest is the longest duration that is taken: ten years.
const longest = 3650 * 24 * time.Hour

// Strategies are the ways to advance that are built.
var Strategies = []string{"dark", "canary", "all"}

// strategiesToCome are known and not built yet.
var strategiesToCome = []string{"bluegreen", "rolling"}

// LocalProject is the project of the local cloud where none is named.
const LocalProject = "local-dev"

// localImage is what a release's image is called where the file names none. The
// local cloud starts its own program whatever the name; at Google there must be
// such an image, so there a name must be given.
const localImage = "tftserve"

// fill gives c the defaults for what the file, whose keys are at, leaves out. A
// zero that is written down stays one.
func (c *Config) fill(version string, at places) {
	def(at, "endpoint", &c.Endpoint, "local")
	if c.Endpoint != "google" {
		def(at, "project", &c.Project, LocalProject)
		def(at, "image", &c.Image, localImage+":"+version)
	}
	def(at, "region", &c.Region, "us-central1")
	def(at, "model.name", &c.Model.Name, "forecast")
	def(at, "model.versions.scheme", &c.Model.Versions.Scheme, "number")
	if _, written := at["model.versions.aliases"]; !written {
		c.Model.Versions.Aliases = []string{"candidate", "stable"}
	}
	if r := c.Targets.CloudRun; r != nil {
		yes := true
		def(at, "targets.cloud_run.service", &r.Service, c.Name)
		def(at, "targets.cloud_run.execution_environment", &r.ExecutionEnvironment, "gen2")
		def(at, "targets.cloud_run.cpu", &r.CPU, 1)
		def(at, "targets.cloud_run.memory", &r.Memory, "1GiB")
		def(at, "targets.cloud_run.cpu_idle", &r.CPUIdle, &yes)
		def(at, "targets.cloud_run.startup_cpu_boost", &r.StartupCPUBoost, &yes)
		def(at, "targets.cloud_run.concurrency", &r.Concurrency, 80)
		def(at, "targets.cloud_run.timeout", &r.Timeout, Duration(5*time.Minute))
		def(at, "targets.cloud_run.max_instances", &r.MaxInstances, max(1, r.MinInstances))
		def(at, "targets.cloud_run.ingress", &r.Ingress, "all")
	}
	if v := c.Targets.Vertex; v != nil {
		def(at, "targets.vertex.endpoint", &v.Endpoint, c.Name)
		def(at, "targets.vertex.machine_type", &v.MachineType, "n1-standard-2")
		def(at, "targets.vertex.min_replicas", &v.MinReplicas, 1)
		def(at, "targets.vertex.max_replicas", &v.MaxReplicas, max(1, v.MinReplicas))
	}
	def(at, "rollout.strategy", &c.Rollout.Strategy, "all")
	if _, written := at["rollout.steps"]; !written {
		c.Rollout.Steps = []int{10, 50}
	}
}

func def[T comparable](at places, path string, field *T, value T) {
	var zero T
	if _, written := at[path]; !written && *field == zero {
		*field = value
	}
}

var (
	regionForm     = regexp.MustCompile(`^[a-z]+-[a-z]+[0-9]{1,2}$`)
	bucketForm     = regexp.MustCompile(`^[a-z0-9].*[a-z0-9]$`)
	bucketPartForm = regexp.MustCompile(`^[a-z0-9_-]{1,63}$`)
	labelKeyForm   = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`) // Google Cloud's labels, in the letters that all services take
	labelValueForm = regexp.MustCompile(`^[a-z0-9_-]{0,63}$`)
)

// isBucketName reports whether Cloud Storage takes name. Source:
// cloud.google.com/storage/docs/buckets#naming. What stands between dots may
// have 63 characters, the whole then 222; an address in numbers is refused.
func isBucketName(name string) bool {
	if len(name) < 3 || len(name) > 222 || net.ParseIP(name) != nil || strings.HasPrefix(name, "goog") || strings.Contains(name, "google") {
		return false
	}
	for part := range strings.SplitSeq(name, ".") {
		if !bucketPartForm.MatchString(part) {
			return false
		}
	}
	return bucketForm.MatchString(name)
}

// check returns everything that is wrong with c, each with its place.
func (c *Config) check(at places) (wrong []error) {
	bad := func(path, hint, format string, args ...any) {
		place := at[path]
		if place == "" {
			place = c.Path
		}
		e := fault.Newf(fault.Invalid, "%s: %s", place, fmt.Sprintf(format, args...))
		e.Hint = hint
		wrong = append(wrong, e)
	}
	because := func(path string, err error) {
		if err != nil {
			bad(path, fault.HintOf(err), "%s: %v", path, err)
		}
	}
	if c.Schema != Schema {
		bad("schema", "write schema: "+Schema, "schema is %q, want %q", c.Schema, Schema)
	}
	because("name", model.CheckName(c.Name))
	because("endpoint", CheckEndpoint(c.Endpoint))
	if c.Project == "" {
		bad("project", "set project, --project or GOOGLE_CLOUD_PROJECT", "project is missing")
	}
	if c.Image == "" {
		bad("image", "`make image` builds it: push it to Artifact Registry and write its reference, by digest", "image is missing: at Google there is none to begin with")
	}
	if !regionForm.MatchString(c.Region) {
		bad("region", "such as us-central1 or europe-west1", "region %q is not the name of a region", c.Region)
	}
	switch bucket, ok := strings.CutPrefix(c.Bucket, "gs://"); {
	case !ok || bucket == "" || strings.Contains(bucket, "/"):
		bad("bucket", "write bucket: gs://NAME", "bucket %q is not of the form gs://NAME", c.Bucket)
	case !isBucketName(bucket):
		bad("bucket", "use 3 to 63 lower-case letters, digits, -, _ and ., the first and the last a letter or digit, and not Google's own name",
			"bucket %q is no name that Cloud Storage takes", c.Bucket)
	}
	for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
		switch value := c.Labels[key]; {
		case key == "managed-by" || strings.HasPrefix(key, "tftctl-"):
			bad("labels", "tftctl knows its own by managed-by and tftctl-…: choose another key", "labels.%s is reserved", key)
		case !labelKeyForm.MatchString(key) || !labelValueForm.MatchString(value):
			bad("labels", "use lower-case letters, digits, _ and -, at most 63, the key beginning with a letter", "labels.%s: %q is no label that Google Cloud takes", key, value)
		}
	}
	because("model.name", model.CheckName(c.Model.Name))
	if c.Model.Versions.Scheme != "number" {
		bad("model.versions.scheme", "versions are whole numbers: write scheme: number", "model.versions.scheme %q is not built yet", c.Model.Versions.Scheme)
	}
	for _, a := range c.Model.Versions.Aliases {
		because("model.versions.aliases", model.CheckAlias(a))
	}
	if c.Targets.CloudRun == nil && c.Targets.Vertex == nil {
		bad("targets", "name targets.cloud_run, targets.vertex or both", "there is no target")
	}
	if r := c.Targets.CloudRun; r != nil && r.ExecutionEnvironment != "gen1" && r.ExecutionEnvironment != "gen2" {
		bad("targets.cloud_run.execution_environment", "use gen2 or gen1", "targets.cloud_run.execution_environment %q is unknown", r.ExecutionEnvironment)
	}
	use := "use " + strings.Join(Strategies, ", ")
	switch s := c.Rollout.Strategy; {
	case slices.Contains(strategiesToCome, s):
		bad("rollout.strategy", use, "rollout.strategy %q is not built yet", s)
	case !slices.Contains(Strategies, s):
		bad("rollout.strategy", use, "rollout.strategy %q is unknown", s)
	}
	because("rollout.steps", CheckSteps(c.Rollout.Steps))
	return wrong
}

// CheckEndpoint refuses what is no place where Google is answered: local,
// google, HOST:PORT or http://HOST:PORT.
func CheckEndpoint(name string) error {
	if name == "local" || name == "google" {
		return nil
	}
	if u, err := url.Parse(name); err == nil && u.Host != "" {
		name = u.Host
	}
	if host, port, err := net.SplitHostPort(name); err != nil || host == "" || port == "" {
		return fault.Newf(fault.Invalid, "endpoint %q is neither local, google nor HOST:PORT", name).WithHint("`tftctl local env` prints the address of a local cloud")
	}
	return nil
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
