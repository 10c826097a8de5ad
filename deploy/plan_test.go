package deploy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
)

func release(v model.Version) deploy.Release {
	return deploy.Release{ID: v.String() + "-aaaaaaaa", Name: "forecast", Version: v}
}

const (
	run     = "run/us-central1/f"
	vertex  = "vertex/us-central1/f"
	aliases = "alias/us-central1/forecast"
)

func nothing() deploy.Snapshot {
	return deploy.Snapshot{run: {}, vertex: {}, aliases: {}}
}

// serving is a world in which v1 has everything.
func serving() deploy.Snapshot {
	return deploy.Snapshot{
		run:     {"place": "ready", "release v1-aaaaaaaa": "ready", "split": "v1-aaaaaaaa=100"},
		vertex:  {"place": "ready", "model v1-aaaaaaaa": "ready", "release v1-aaaaaaaa": "ready", "split": "v1-aaaaaaaa=100"},
		aliases: {"alias stable": "v1"},
	}
}

func printed(p deploy.Plan) string {
	var b strings.Builder
	for _, stage := range p.Stages {
		b.WriteString(stage.Name + "\n")
		for _, s := range stage.Steps {
			b.WriteString("  " + s.String() + "\n")
		}
	}
	return b.String()
}

func TestPlans(t *testing.T) {
	t.Parallel()
	two := release(2)
	for _, c := range []struct {
		name string
		now  deploy.Snapshot
		goal deploy.Goal
		want string
	}{
		{"the first release makes its places", nothing(), deploy.Goal{Release: &two, Percents: []int{100}, First: "candidate", Last: "stable"}, `prepare
  run/us-central1/f  release v2-aaaaaaaa  absent -> ready
  run/us-central1/f  split  absent -> v2-aaaaaaaa=100
  run/us-central1/f  place  absent -> ready
  vertex/us-central1/f  place  absent -> ready
  vertex/us-central1/f  model v2-aaaaaaaa  absent -> ready
  vertex/us-central1/f  release v2-aaaaaaaa  absent -> ready
100 %
  vertex/us-central1/f  split  absent -> v2-aaaaaaaa=100
  alias/us-central1/forecast  alias candidate  absent -> v2
  alias/us-central1/forecast  alias stable  absent -> v2
`},
		{"a canary goes on to everything", serving(), deploy.Goal{Release: &two, Percents: []int{10, 100}, First: "candidate", Last: "stable"}, `prepare
  run/us-central1/f  release v2-aaaaaaaa  absent -> ready
  vertex/us-central1/f  model v2-aaaaaaaa  absent -> ready
  vertex/us-central1/f  release v2-aaaaaaaa  absent -> ready
10 %
  run/us-central1/f  split  v1-aaaaaaaa=100 -> v1-aaaaaaaa=90,v2-aaaaaaaa=10
  vertex/us-central1/f  split  v1-aaaaaaaa=100 -> v1-aaaaaaaa=90,v2-aaaaaaaa=10
  alias/us-central1/forecast  alias candidate  absent -> v2
100 %
  run/us-central1/f  split  v1-aaaaaaaa=90,v2-aaaaaaaa=10 -> v2-aaaaaaaa=100
  vertex/us-central1/f  split  v1-aaaaaaaa=90,v2-aaaaaaaa=10 -> v2-aaaaaaaa=100
  alias/us-central1/forecast  alias stable  v1 -> v2
`},
		{"dark means no traffic", serving(), deploy.Goal{Release: &two}, `prepare
  run/us-central1/f  release v2-aaaaaaaa  absent -> ready
  vertex/us-central1/f  model v2-aaaaaaaa  absent -> ready
  vertex/us-central1/f  release v2-aaaaaaaa  absent -> ready
`},
		{"undeploy takes what serves and leaves uploaded models", serving(), deploy.Goal{Verb: deploy.UndeployVerb, Remove: []string{run, vertex}}, `remove
  run/us-central1/f  place  ready -> absent
  vertex/us-central1/f  split  v1-aaaaaaaa=100 -> absent
  vertex/us-central1/f  release v1-aaaaaaaa  ready -> absent
  vertex/us-central1/f  place  ready -> absent
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			plan, err := deploy.NewPlan(c.now, c.goal)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, printed(plan)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			again, err := deploy.NewPlan(c.now, c.goal)
			if err != nil || again.Digest != plan.Digest {
				t.Errorf("the same plan made twice has digests %s and %s, %v", plan.Digest, again.Digest, err)
			}
		})
	}
}

func TestWhatRollbackGoesBackToIsNotRetired(t *testing.T) {
	t.Parallel()
	now := serving()
	for _, target := range []string{run, vertex} {
		now[target]["release v0-old"] = "ready" // no version of ours: never counted
		now[target]["release v3-aaaaaaaa"] = "ready"
	}
	four := release(4)
	plan, err := deploy.NewPlan(now, deploy.Goal{Release: &four, Percents: []int{100}})
	if err != nil {
		t.Fatal(err)
	}
	text := printed(plan)
	if strings.Contains(text, "release v1-aaaaaaaa  ready -> absent") {
		t.Errorf("the release that had the traffic is retired:\n%s", text)
	}
	if !strings.Contains(text, "release v3-aaaaaaaa  ready -> absent") {
		t.Errorf("an unused release is not retired:\n%s", text)
	}
	if plan.Leaving != "v1-aaaaaaaa" || plan.Serving != "v4-aaaaaaaa" {
		t.Errorf("leaving %q for %q", plan.Leaving, plan.Serving)
	}
}

// Deploying what has everything already changes nothing: what a rollback goes
// back to must stay.
func TestWhatIsLiveAlreadyIsLeftAlone(t *testing.T) {
	t.Parallel()
	now := serving()
	now[run]["release v0-aaaaaaaa"], now[run]["release v3-aaaaaaaa"] = "ready", "ready"
	one := release(1)
	plan, err := deploy.NewPlan(now, deploy.Goal{Verb: deploy.DeployVerb, Release: &one, Percents: []int{10, 100}, Last: "stable"})
	if err != nil || !plan.Empty() {
		t.Errorf("%v:\n%s", err, printed(plan))
	}
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	two := release(2)
	foreign := serving()
	foreign[run]["place"] = "foreign"
	for name, c := range map[string]struct {
		now  deploy.Snapshot
		goal deploy.Goal
		want fault.Kind
	}{
		"steps that fall":                {serving(), deploy.Goal{Release: &two, Percents: []int{50, 10}}, fault.Invalid},
		"more than everything":           {serving(), deploy.Goal{Release: &two, Percents: []int{101}}, fault.Invalid},
		"traffic for who is not there":   {serving(), deploy.Goal{Splits: map[string]deploy.Split{run: {"v9-aaaaaaaa": 100}}}, fault.NotFound},
		"removing what others have made": {foreign, deploy.Goal{Verb: deploy.UndeployVerb, Remove: []string{run}}, fault.Blocked},
	} {
		if _, err := deploy.NewPlan(c.now, c.goal); fault.KindOf(err) != c.want || err == nil {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestAPlanInAFileIsAsItWasMade(t *testing.T) {
	t.Parallel()
	two := release(2)
	plan, err := deploy.NewPlan(serving(), deploy.Goal{Release: &two, Percents: []int{10}})
	if err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	var back deploy.Plan
	if err := json.Unmarshal(content, &back); err != nil || back.Check() != nil {
		t.Errorf("read back: %v, %v", err, back.Check())
	}
	back.Stages[1].Steps[0].To = "v2-aaaaaaaa=100"
	if err := back.Check(); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("a changed plan: %v, want Corrupt", err)
	}
}

func TestSplitForms(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"v2=10,v1=90":      "v1=90,v2=10",
		"v10-a=50,v9-b=50": "v9-b=50,v10-a=50",
		"v1=100,v2=0":      "v1=100",
		"":                 "",
		"v1=1 , v2=99":     "v1=1,v2=99",
	} {
		s, err := deploy.ParseSplit(in)
		if err != nil || s.String() != want {
			t.Errorf("ParseSplit(%q) = %q, %v; want %q", in, s, err, want)
		}
	}
	for _, in := range []string{"v1", "v1=", "=100", "v1=50", "v1=50,v1=50", "v1=101", "v1=-1,v2=101", "v1=60,v2=50", "v1=99.5,v2=0.5"} {
		if _, err := deploy.ParseSplit(in); fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("ParseSplit(%q): %v, want Invalid", in, err)
		}
	}
}

// Whatever the split and the share, the outcome is whole, the release has its
// share, and whoever had nothing has nothing.
func TestTowardsIsAlwaysWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "releases")
		split, left := deploy.Split{}, 100
		for i := range n {
			share := left
			if i < n-1 {
				share = rapid.IntRange(0, left).Draw(t, "share")
			}
			split[release(model.Version(i+1)).ID] = share
			left -= share
		}
		to := release(model.Version(rapid.IntRange(1, 6).Draw(t, "release"))).ID
		percent := rapid.IntRange(1, 100).Draw(t, "percent")
		got := split.Towards(to, percent)
		sum := 0
		for name, share := range got {
			sum += share
			if name != to && split[name] == 0 {
				t.Fatalf("%v towards %s=%d: %s had nothing and has %d", split, to, percent, name, share)
			}
		}
		alone := split[to] == 100
		if sum != 100 || !alone && got[to] != percent {
			t.Fatalf("%v towards %s=%d is %v", split, to, percent, got)
		}
		back, err := deploy.ParseSplit(got.String())
		if err != nil || back.String() != got.String() {
			t.Fatalf("%v does not read back: %v, %v", got, back, err)
		}
	})
}

func TestReleasesAreNamedByTheirContents(t *testing.T) {
	t.Parallel()
	base := deploy.Release{Name: "forecast", Version: 13, Model: model.DigestOf([]byte("m")), Image: "i", Settings: model.DigestOf(nil)}
	one := deploy.NewRelease(base)
	if again := deploy.NewRelease(base); again.ID != one.ID || deploy.VersionOf(one.ID) != 13 {
		t.Errorf("IDs %s and %s", one.ID, again.ID)
	}
	for name, change := range map[string]func(*deploy.Release){
		"model":    func(r *deploy.Release) { r.Model = model.DigestOf([]byte("n")) },
		"image":    func(r *deploy.Release) { r.Image = "j" },
		"settings": func(r *deploy.Release) { r.Settings = model.DigestOf([]byte("s")) },
	} {
		r := base
		change(&r)
		if deploy.NewRelease(r).ID == one.ID {
			t.Errorf("another %s has the same ID", name)
		}
	}
}
