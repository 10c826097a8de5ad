package config

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tftctl/tftctl/pkg/fault"
)

// head is the least that every file says, lines 1 to 3.
const head = "schema: tftctl/v1\nname: shop\nbucket: gs://shop-models\n"

// run is the shortest target, lines 4 and 5.
const run = "targets:\n  cloud_run: {}\n"

func parse(t *testing.T, content string, o Options) *Config {
	t.Helper()
	c, err := Parse("tftctl.yaml", []byte(content), o)
	if err != nil {
		t.Fatalf("parse: %v (hint: %s)\n%s", err, fault.HintOf(err), content)
	}
	return c
}

func TestDefaultsFillWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	got := parse(t, head+"targets:\n  cloud_run: {}\n  vertex: {}\n", Options{Version: "1.2.3"})
	yes := true
	want := &Config{
		Schema: Schema, Name: "shop", Endpoint: "local", Project: "local-dev", Region: "us-central1", Bucket: "gs://shop-models",
		Model: Model{Name: "forecast", Versions: Versions{Scheme: "number", Aliases: []string{"candidate", "stable"}}},
		Image: "tftserve:1.2.3",
		Targets: Targets{
			CloudRun: &CloudRun{
				Service: "shop", ExecutionEnvironment: "gen2", CPU: 1, Memory: "1GiB", CPUIdle: &yes, StartupCPUBoost: &yes,
				Concurrency: 80, Timeout: Duration(5 * time.Minute), MaxInstances: 1, Ingress: "all",
			},
			Vertex: &Vertex{Endpoint: "shop", MachineType: "n1-standard-2", MinReplicas: 1, MaxReplicas: 1},
		},
		Rollout:     Rollout{Strategy: "all", Steps: []int{10, 50}},
		Environment: "development", Path: "tftctl.yaml",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestWhatIsWrittenDownIsNoDefault(t *testing.T) {
	t.Parallel()
	c := parse(t, head+`model: { versions: { aliases: [] } }
targets:
  cloud_run: { cpu_idle: false, concurrency: 0, min_instances: 3 }
  vertex: { min_replicas: 0 }
rollout: { steps: [] }
`, Options{})
	if *c.Targets.CloudRun.CPUIdle || c.Targets.CloudRun.Concurrency != 0 || c.Targets.Vertex.MinReplicas != 0 {
		t.Errorf("a zero that is written became a default: %+v, %+v", *c.Targets.CloudRun, *c.Targets.Vertex)
	}
	if len(c.Model.Versions.Aliases) != 0 || len(c.Rollout.Steps) != 0 {
		t.Errorf("an empty list that is written became a default: %v, %v", c.Model.Versions.Aliases, c.Rollout.Steps)
	}
	if c.Targets.CloudRun.MaxInstances != 3 {
		t.Errorf("max_instances %d, want what min_instances needs", c.Targets.CloudRun.MaxInstances)
	}
}

// At Google there is no project and no image to begin with: both must be named.
func TestGoogleHasNoDefaultProjectOrImage(t *testing.T) {
	t.Parallel()
	file := []byte("endpoint: google\n" + head + run)
	for name, c := range map[string]struct {
		options Options
		want    string // "": it is valid
	}{
		"no project": {Options{Image: "example.com/tftserve:1"}, "project is missing"},
		"no image":   {Options{Project: "mine"}, "image is missing"},
		"both":       {Options{Project: "mine", Image: "example.com/tftserve:1"}, ""},
	} {
		got, err := Parse("f", file, c.options)
		if c.want == "" {
			if err != nil || got.Project != "mine" || got.Image != "example.com/tftserve:1" {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			continue
		}
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want Invalid: %s", name, err, c.want)
		}
	}
}

func TestEnvironmentIsLaidOver(t *testing.T) {
	t.Parallel()
	file := head + `labels: { team: core, tier: one }
default_environment: staging
region: us-central1
model: { versions: { aliases: [next, live] } }
targets:
  cloud_run: { cpu: 2, memory: 2GiB, concurrency: 10 }
rollout: { strategy: canary, steps: [1, 5, 25] }
environments:
  staging:
  production:
    region: europe-west1
    labels: { tier: two, cost: high }
    model: { versions: { aliases: [stable] } }
    targets: { cloud_run: { memory: 4GiB }, vertex: {} }
    rollout: { steps: [50], bake: 10m }
`
	staging := parse(t, file, Options{})
	if staging.Environment != "staging" || staging.Region != "us-central1" || staging.Targets.Vertex != nil {
		t.Errorf("the default environment is not the file itself: %+v", staging)
	}
	got := parse(t, file, Options{Environment: "production"})
	if got.Region != "europe-west1" || time.Duration(got.Rollout.Bake) != 10*time.Minute || got.Rollout.Strategy != "canary" {
		t.Errorf("region %s, bake %v, strategy %s", got.Region, got.Rollout.Bake, got.Rollout.Strategy)
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"maps merge", got.Labels, map[string]string{"team": "core", "tier": "two", "cost": "high"}},
		{"lists replace", got.Rollout.Steps, []int{50}},
		{"lists of text replace", got.Model.Versions.Aliases, []string{"stable"}},
		{"structures merge", []any{got.Targets.CloudRun.CPU, got.Targets.CloudRun.Memory, got.Targets.CloudRun.Concurrency}, []any{2, "4GiB", 10}},
		{"what is new is added", got.Targets.Vertex != nil, true},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
	}
	if c := parse(t, file, Options{Environment: "production", Region: "us-east1"}); c.Region != "us-east1" {
		t.Errorf("region %s, want the flag's", c.Region)
	}
}

func TestMistakesAreToldWithTheirPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file string
		kind       fault.Kind
		want       string // of the message
		hint       string
	}{
		{"unknown key", head + run + "rolout: {}", fault.Invalid, "f:6:1: unknown key rolout", "did you mean rollout?"},
		{"unknown key below", head + "targets:\n  cloud_run:\n    memroy: 2GiB", fault.Invalid, "f:6:5: unknown key targets.cloud_run.memroy", "did you mean targets.cloud_run.memory?"},
		{"unknown key of an environment", head + run + "environments:\n  dev:\n    regoin: us-east1", fault.Invalid, "f:8:5: unknown key regoin", "did you mean region?"},
		{"the right word in the wrong place", head + run + "concurrency: 5", fault.Invalid, "f:6:1: unknown key concurrency", "did you mean targets.cloud_run.concurrency?"},
		{"nothing like it", head + run + "xyzzy: 5", fault.Invalid, "f:6:1: unknown key xyzzy", "`tftctl init`"},
		{"environments within one", head + run + "environments:\n  dev:\n    environments: {}", fault.Invalid, "f:8:5: unknown key environments", ""},
		{"a planned key", head + run + "cost: { limit: 5 }", fault.Invalid, "f:6:1: cost is not built yet", "take it out"},
		{"a planned key below", head + run + "rollout: { timeout: 5m }", fault.Invalid, "f:6:12: rollout.timeout is not built yet", "take it out"},
		{"a strategy to come", head + run + "rollout: { strategy: bluegreen }", fault.Invalid, `f:6:22: rollout.strategy "bluegreen" is not built yet`, "dark, canary, all"},
		{"no strategy", head + run + "rollout: { strategy: yolo }", fault.Invalid, `f:6:22: rollout.strategy "yolo" is unknown`, "dark, canary, all"},
		{"a word for a number", head + "targets:\n  cloud_run: { cpu: many }", fault.Invalid, `f:5:21: targets.cloud_run.cpu: "many" is not a whole number`, ""},
		{"half a number", head + "targets:\n  cloud_run: { cpu: 1.5 }", fault.Invalid, `f:5:21: targets.cloud_run.cpu: "1.5" is not a whole number`, ""},
		{"too large a number", head + "targets:\n  cloud_run: { cpu: 99999999999999999999 }", fault.Invalid, "is not a whole number", ""},
		{"a word for a truth", head + "targets:\n  cloud_run: { cpu_idle: yes }", fault.Invalid, `f:5:26: targets.cloud_run.cpu_idle: "yes" is not true or false`, ""},
		{"a number in quotes", head + "targets:\n  cloud_run: { cpu: \"2\" }", fault.Invalid, `f:5:21: targets.cloud_run.cpu: "2" is not a whole number`, ""},
		{"a number for a text", head + run + "labels: { version: 1.10 }", fault.Invalid, "f:6:20: labels.version: 1.10 is not a text", "write it in quotes"},
		{"a list for a text", head + run + "region: [a]", fault.Invalid, `f:6:9: region: "[a]" is not a text`, ""},
		{"a text for a list", head + run + "rollout: { steps: 5 }", fault.Invalid, `f:6:19: rollout.steps: "5" is not a list`, ""},
		{"a word in a list of numbers", head + run + "rollout: { steps: [1, a] }", fault.Invalid, `f:6:23: rollout.steps[1]: "a" is not a whole number`, ""},
		{"a list for a mapping", head + "targets: [a]", fault.Invalid, `f:4:10: targets: "[a]" is not a mapping of keys`, ""},
		{"an empty target", head + "targets:\n  vertex:\n", fault.Invalid, "targets.vertex is empty", "{}"},
		{"no duration", head + run + "rollout: { bake: soon }", fault.Invalid, `f:6:18: rollout.bake: "soon" is no duration`, "write 30s"},
		{"steps that fall", head + run + "rollout: { steps: [50, 10] }", fault.Invalid, "f:6:19: rollout.steps: [50 10] do not rise within 1 to 100", "such as 1,5,25,50"},
		{"a key twice", head + "name: other\n" + run, fault.Malformed, `f:4:1: mapping key "name" already defined`, ""},
		{"a bracket that stays open", "schema: [", fault.Malformed, "f:1:9: ", ""},
		{"a tab", "schema: x\n\tname: y", fault.Malformed, "f:2:1: ", ""},
		{"two documents", head + run + "---\n" + head, fault.Malformed, "f holds 2 documents, not one", "environments"},
		{"nothing", "", fault.Malformed, "f is not a mapping of keys", "`tftctl init`"},
		{"a text", "hello", fault.Malformed, "f is not a mapping of keys", "`tftctl init`"},
		{"an anchor", head + "labels: &l {a: b}\n" + run, fault.Invalid, "f:4:9: labels: an anchor, alias or tag", "write the value out"},
		{"an alias", head + "region: *l\n" + run, fault.Invalid, "f:4:9: region: an anchor, alias or tag", "write the value out"},
		{"a tag", head + "region: !!str 5\n" + run, fault.Invalid, "f:4:9: region: an anchor, alias or tag", "write the value out"},
		{"a merge key", head + "targets:\n  cloud_run:\n    <<: {cpu: 1}", fault.Invalid, "f:6:5: << is not read", "write the value out"},
		{"no target", head, fault.Invalid, "f: there is no target", "targets.vertex"},
		{"another schema", "schema: tftctl/v2\nname: shop\nbucket: gs://shop\n" + run, fault.Invalid, `f:1:9: schema is "tftctl/v2", want "tftctl/v1"`, ""},
		{"no schema", "name: shop\nbucket: gs://shop\n" + run, fault.Invalid, `f: schema is "", want "tftctl/v1"`, "write schema: tftctl/v1"},
		{"a name in capitals", "schema: tftctl/v1\nname: Shop\nbucket: gs://shop\n" + run, fault.Invalid, "f:2:7: name: ", "lower-case"},
		{"a bucket with a folder", "schema: tftctl/v1\nname: shop\nbucket: gs://b/c\n" + run, fault.Invalid, "f:3:9: bucket ", "gs://NAME"},
		{"no bucket", "schema: tftctl/v1\nname: shop\n" + run, fault.Invalid, `f: bucket "" is not of the form`, "gs://NAME"},
		{"a bucket too short", "schema: tftctl/v1\nname: shop\nbucket: gs://ab\n" + run, fault.Invalid, `f:3:9: bucket "gs://ab" is no name that Cloud Storage takes`, "3 to 63"},
		{"no region", head + run + "region: nowhere", fault.Invalid, `f:6:9: region "nowhere"`, "us-central1"},
		{"no endpoint", head + run + "endpoint: nowhere", fault.Invalid, `f:6:11: endpoint: endpoint "nowhere" is neither`, "`tftctl local env`"},
		{"a scheme to come", head + run + "model: { versions: { scheme: semver } }", fault.Invalid, `f:6:30: model.versions.scheme "semver" is not built yet`, "number"},
		{"an alias like a version", head + run + "model: { versions: { aliases: [v13] } }", fault.Invalid, "f:6:31: model.versions.aliases: ", ""},
		{"a label in capitals", head + run + "labels: { Team: core }", fault.Invalid, "f:6:9: labels.Team", "lower-case"},
		{"a label that is ours", head + run + "labels: { managed-by: me }", fault.Invalid, "f:6:9: labels.managed-by is reserved", "choose another"},
		{"a label that is a mapping", head + run + "labels: { a: { b: c } }", fault.Invalid, "labels.a: ", ""},
		{"an environment that is none", head + run + "environments: { dev: {}, prod: {} }\ndefault_environment: test", fault.Invalid, `f has no environment "test"`, "it has dev, prod"},
		{"no development among them", head + run + "environments: { prod: {} }", fault.Invalid, `f has no environment "development"`, "it has prod"},
		{"an environment that is a list", head + run + "environments:\n  dev: [a]", fault.Invalid, "f:7:8: environments.dev is not a mapping of keys", ""},
		{"environments that are a list", head + run + "environments: [a]", fault.Invalid, "f:6:15: environments is not a mapping of names", ""},
	} {
		_, err := Parse("f", []byte(c.file), Options{})
		if err == nil || fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) || !strings.Contains(fault.HintOf(err), c.hint) {
			t.Errorf("%s: got %v: %v (hint: %s)\nwant %v: %s (hint: %s)", c.name, fault.KindOf(err), err, fault.HintOf(err), c.kind, c.want, c.hint)
		}
	}
}

func TestUnknownEnvironmentIsRefusedEvenWhereNoneIsNamed(t *testing.T) {
	t.Parallel()
	if _, err := Parse("f", []byte(head+run), Options{Environment: "production"}); fault.KindOf(err) != fault.Invalid || err == nil {
		t.Errorf("got %v: what is meant for production would have gone to development", err)
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Parse("f", []byte(head+run+"rolout: {}\nregion: [a]\n"), Options{})
	want := "f:6:1: unknown key rolout: did you mean rollout?\nf:7:9: region: \"[a]\" is not a text"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if hint := fault.HintOf(err); !strings.Contains(hint, "these 2 places") {
		t.Errorf("hint %q", hint)
	}
}

func TestNearestKeyIsOneSlipAway(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"regoin": "region", "bukcet": "bucket", "rollouts": "rollout", "rollout.step": "rollout.steps",
		"targets.cloudrun": "targets.cloud_run", "targets.vertex.min_replica": "targets.vertex.min_replicas",
		"steps": "rollout.steps", "foo": "", "x": "", "rollout.gates": "",
	} {
		if got := nearest(path); got != want {
			t.Errorf("nearest(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestBuiltAndPlannedKeysDoNotMeet(t *testing.T) {
	t.Parallel()
	if !slices.IsSorted(plannedKeys()) {
		t.Error("planned.txt is not in order")
	}
	for _, key := range plannedKeys() {
		if slices.Contains(builtKeys, key) {
			t.Errorf("%s is both built and planned", key)
		}
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0s": 0, "30s": 30 * time.Second, "10m": 10 * time.Minute, "1h30m": 90 * time.Minute, `"2h"`: 2 * time.Hour,
		"90d": 90 * 24 * time.Hour, "0.5d": 12 * time.Hour, "250ms": 250 * time.Millisecond,
	} {
		c := parse(t, head+run+"rollout: { bake: "+text+" }", Options{})
		if got := time.Duration(c.Rollout.Bake); got != want {
			t.Errorf("bake: %s is %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"soon", "-5s", "10", "5 minutes", "1e9d", "99999999h", "d", "[1s]", "null", "true"} {
		if _, err := Parse("f", []byte(head+run+"rollout: { bake: "+text+" }"), Options{}); fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("bake: %s: %v, want Invalid", text, err)
		}
	}
}

// A file must not cost more than its size: the parser's work grows with the
// square of size and depth, and anchors would multiply what they name.
func TestHugeAndDeepFilesAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	bomb := strings.Builder{}
	bomb.WriteString(head + "a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := range 9 {
		a, b := string(rune('0'+i)), string(rune('1'+i))
		bomb.WriteString("a" + b + ": &a" + b + " [" + strings.TrimSuffix(strings.Repeat("*a"+a+",", 9), ",") + "]\n")
	}
	for name, c := range map[string]struct {
		file string
		kind fault.Kind
	}{
		"too large":             {head + run + "# " + strings.Repeat("x", maxBytes), fault.TooLarge},
		"a bomb of anchors":     {bomb.String(), fault.Invalid},
		"open brackets":         {"a: " + strings.Repeat("[", maxBytes-10), fault.TooLarge},
		"open braces":           {strings.Repeat("{a: ", maxBytes/5), fault.TooLarge},
		"dashes":                {strings.Repeat("- ", maxBytes/3), fault.TooLarge},
		"question marks":        {strings.Repeat("? ", maxBytes/3), fault.TooLarge},
		"anchors upon anchors":  {strings.Repeat("&a ", maxBytes/4), fault.TooLarge},
		"a staircase of blanks": {stairs(300), fault.TooLarge},
	} {
		start := time.Now()
		_, err := Parse("f", []byte(c.file), Options{})
		if err == nil || fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

func stairs(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestSettingsDigestIsOfTheSettingsAlone(t *testing.T) {
	t.Parallel()
	base := head + "labels: { team: core }\n" + run
	of := func(file string, o Options) string { return string(parse(t, file, o).SettingsDigest()) }
	want := of(base, Options{})
	if again := of(base, Options{}); again != want {
		t.Errorf("two digests of the same file: %s, %s", want, again)
	}
	for name, file := range map[string]string{
		"a default written out": strings.Replace(base, "cloud_run: {}", "cloud_run: { cpu: 1 }", 1),
		"another strategy":      base + "rollout: { strategy: dark }\n",
		"another bucket":        strings.Replace(base, "shop-models", "others", 1),
		"another image":         base + "image: example.com/server:2\n",
		"a comment":             "# why\n" + base,
	} {
		if got := of(file, Options{}); got != want {
			t.Errorf("%s changes the digest", name)
		}
	}
	if got := of(base, Options{Region: "europe-west1", Project: "other", Version: "9"}); got != want {
		t.Error("place or program change the digest")
	}
	seen := map[string]string{want: "the base"}
	for name, file := range map[string]string{
		"memory":        strings.Replace(base, "{}", "{ memory: 2GiB }", 1),
		"a false":       strings.Replace(base, "{}", "{ cpu_idle: false }", 1),
		"a timeout":     strings.Replace(base, "{}", "{ timeout: 1m }", 1),
		"a label":       strings.Replace(base, "core", "edge", 1),
		"one more":      base + "  vertex: {}\n",
		"another place": strings.Replace(base, "{}", "{ service: other }", 1),
	} {
		got := of(file, Options{})
		if before, taken := seen[got]; taken {
			t.Errorf("%s has the digest of %s", name, before)
		}
		seen[got] = name
	}
}

func TestEveryKeyOfTheTypesIsRead(t *testing.T) {
	t.Parallel()
	// A built key must lead to a field: else keys would let through what Strict refuses.
	for _, key := range builtKeys {
		if strings.Contains(key, "..") || strings.HasSuffix(key, ".") || key == "" {
			t.Errorf("a field without a yaml name makes the key %q", key)
		}
	}
	if n := len(slices.Compact(slices.Sorted(slices.Values(builtKeys)))); n != len(builtKeys) {
		t.Errorf("%d keys, %d different ones", len(builtKeys), n)
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"local": true, "google": true, "127.0.0.1:9470": true, "http://127.0.0.1:9470": true, "[::1]:80": true,
		"": false, "nowhere": false, ":80": false, "host:": false, "http://host": false,
	} {
		if err := CheckEndpoint(name); (err == nil) != ok {
			t.Errorf("CheckEndpoint(%q) = %v", name, err)
		}
	}
}

func TestBucketNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 63)
	for name, ok := range map[string]bool{
		"abc": true, "a-b_c.d": true, "0ab": true, long: true, long + ".b": true, "my-project-models": true,
		"": false, "ab": false, long + "a": false, "Shop": false, "a b": false, "-ab": false, "ab-": false, "_ab": false, "ab.": false, ".ab": false,
		"a..b": false, "127.0.0.1": false, "goog-models": false, "my-google-models": false, "schön": false,
		strings.Repeat(long+".", 3) + long: false,
	} {
		if got := isBucketName(name); got != ok {
			t.Errorf("isBucketName(%q) = %v", name, got)
		}
	}
}

// FuzzParse holds that no file makes Parse panic, and that what it accepts
// names its target and stays as it is when its digest is taken.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		head + run, head + "targets:\n  vertex: { min_replicas: 2 }\nrollout: { bake: 5m, steps: [1, 2] }\n",
		head + run + "environments: { development: { labels: { a: b } } }\n",
		"? [a]\n: b\n", "a: &a *a\n", "<<: {}\n", "--- 1\n---\n", "\"a\nb\": |\n  x\n", "environments:\n  development:\n    targets: {cloud_run: }\n",
		"a: !!binary x\n", "\xff\xfe", "'", "targets: {? : }\n", "- - -\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := Parse("f", content, Options{})
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.Malformed && k != fault.TooLarge {
				t.Errorf("%v: kind %v", err, k)
			}
			return
		}
		if c.Targets.CloudRun == nil && c.Targets.Vertex == nil {
			t.Error("no target was accepted")
		}
		labels := maps.Clone(c.Labels)
		if first := c.SettingsDigest(); c.SettingsDigest() != first || !maps.Equal(labels, c.Labels) {
			t.Error("the digest changes")
		}
	})
}
