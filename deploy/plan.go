package deploy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
)

// Goal is what is wanted.
type Goal struct {
	Verb string // one of the verbs below

	// Release is to be made ready and to take traffic; nil: only what follows.
	Release *Release
	// Percents are the shares of Release, stage by stage. Empty: it is made
	// ready and gets no traffic.
	Percents []int
	// Bake is how long a share below the last is watched.
	Bake time.Duration
	// First and Last are the aliases that move to Release with its first
	// traffic and with its last stage where that is 100; "": none.
	First, Last string

	// Splits are wanted as they stand, by target; used without Release.
	Splits map[string]Split
	// Aliases are wanted as they stand, "" for absent; used without Release.
	Aliases map[string]string
	// Serving is the release that is asked for predictions before and after
	// traffic moves; used without Release, "": none.
	Serving string
	// Remove takes away everything at these targets: traffic, releases, places.
	Remove []string
	Reason string
}

// Plan is the stages that lead from a Snapshot to a Goal.
type Plan struct {
	Schema  string       `json:"schema"` // PlanSchema
	Verb    string       `json:"verb"`
	Release *Release     `json:"release,omitempty"`
	Leaving string       `json:"leaving,omitempty"` // the release with the most traffic that is to lose it
	Serving string       `json:"serving,omitempty"` // the release that has the most traffic afterwards
	Reason  string       `json:"reason,omitempty"`
	Stages  []Stage      `json:"stages"`
	Final   bool         `json:"final"` // false: the release is left at a share below 100
	Saw     Snapshot     `json:"saw"`
	Digest  model.Digest `json:"digest"` // over all other fields
}

// stays reports whether what is done stays when a later step fails: each step
// of a rollback is nearer to safety, with or without the others, and what an
// undeploy has removed cannot be put back.
func (p Plan) stays() bool { return p.Verb == RollbackVerb || p.Verb == UndeployVerb }

// The verbs of a Goal.
const (
	DeployVerb   = "deploy"
	PromoteVerb  = "promote"
	TrafficVerb  = "traffic set"
	RollbackVerb = "rollback"
	UndeployVerb = "undeploy"
)

// PlanSchema is the version of Plan's stored form.
const PlanSchema = "tftctl/plan/v1"

// Stage is steps that belong together, and the gates that judge them.
type Stage struct {
	Name  string        `json:"name"`
	Steps []Step        `json:"steps"`
	Smoke string        `json:"smoke,omitempty"` // the release that is asked for predictions afterwards
	Bake  time.Duration `json:"bake,omitempty"`  // nanoseconds to watch before the next stage
	// Cleanup stages come after the goal is reached: what fails in one is
	// reported, and undoes nothing.
	Cleanup bool `json:"cleanup,omitempty"`
}

// Empty reports whether p changes nothing.
func (p Plan) Empty() bool { return p.StepCount() == 0 }

// StepCount returns how many steps p has.
func (p Plan) StepCount() int {
	n := 0
	for _, s := range p.Stages {
		n += len(s.Steps)
	}
	return n
}

// NewPlan returns the steps from now to goal. It is a function of its
// arguments alone: nothing is asked again.
//
// Errors: NotFound where goal names a release that a target does not have;
// Invalid where it contradicts itself.
func NewPlan(now Snapshot, goal Goal) (Plan, error) {
	p := Plan{Schema: PlanSchema, Verb: goal.Verb, Release: goal.Release, Reason: goal.Reason, Saw: now}
	var err error
	switch {
	case goal.Verb == UndeployVerb:
		p.Stages, err = removal(now, goal.Remove)
		p.Final = true
	case goal.Release != nil:
		p.Stages, err = rollout(now, goal)
		p.Final = hasAll(p.after(), goal.Release.ID)
	default:
		p.Stages, err = rearrangement(now, goal)
		p.Final = true
	}
	if err != nil {
		return Plan{}, err
	}
	p.Serving = most(p.after(), "")
	p.Leaving = most(now, p.Serving)
	content, err := json.Marshal(p)
	if err != nil {
		return Plan{}, err
	}
	p.Digest = model.DigestOf(content)
	return p, nil
}

// after returns what p's steps make of what it saw.
func (p Plan) after() Snapshot {
	facts := clone(p.Saw)
	for _, stage := range p.Stages {
		for _, s := range stage.Steps {
			facts[s.Target][s.Fact] = s.To
			if s.Fact == PlaceFact && s.To == "" { // with all that it held
				facts[s.Target] = Facts{}
			}
		}
	}
	return facts
}

// Check returns Corrupt if p, read from a file, is not as it was made.
func (p Plan) Check() error {
	if p.Schema != PlanSchema {
		return fault.Newf(fault.Invalid, "the plan has schema %q, want %q", p.Schema, PlanSchema).WithHint("make it again with `tftctl plan --out FILE`")
	}
	want := p.Digest
	p.Digest = ""
	content, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if model.DigestOf(content) != want {
		return fault.Newf(fault.Corrupt, "the plan was changed after it was made").WithHint("make it again with `tftctl plan --out FILE`")
	}
	return nil
}

// Holds reports whether release id is ready or has traffic at target once p is
// carried out.
func (p Plan) Holds(target, id string) bool {
	facts := p.after()[target]
	split, err := facts.Split()
	return facts[ReleaseFact(id)] == Ready || err == nil && split[id] > 0
}

// hasAll reports whether release id has all traffic at every target that serves.
func hasAll(in Snapshot, id string) bool {
	for _, t := range servers(in) {
		if in[t][SplitFact] != (Split{id: 100}).String() {
			return false
		}
	}
	return true
}

// Serving returns the release with the largest share at any target.
func (s Snapshot) Serving() string { return most(s, "") }

// most returns who has the largest share at any target, other than except.
func most(in Snapshot, except string) string {
	best, share := "", 0
	for _, target := range in.Names() {
		split, err := in[target].Split()
		if err != nil {
			continue
		}
		for _, id := range split.Names() {
			if id != except && split[id] > share {
				best, share = id, split[id]
			}
		}
	}
	return best
}

// A target serves traffic if it has a place; the others hold aliases.
func servers(now Snapshot) []string {
	return slices.DeleteFunc(now.Names(), func(t string) bool { return strings.HasPrefix(t, AliasFact+"/") })
}

func aliasTargets(now Snapshot) []string {
	return slices.DeleteFunc(now.Names(), func(t string) bool { return !strings.HasPrefix(t, AliasFact+"/") })
}

func rollout(now Snapshot, goal Goal) ([]Stage, error) {
	for i, pc := range goal.Percents {
		if pc < 1 || pc > 100 || i > 0 && pc <= goal.Percents[i-1] {
			return nil, fault.Newf(fault.Invalid, "steps %v do not rise from 1 to 100", goal.Percents).WithHint("such as --steps 1,5,25,50")
		}
	}
	id, percents := goal.Release.ID, goal.Percents
	if len(percents) > 0 && most(now, id) == "" {
		percents = []int{100} // there is nobody to share with
	}
	facts := clone(now)
	change := changer(facts, goal.Release)

	prepare := Stage{Name: "prepare", Smoke: id}
	for _, t := range servers(now) {
		if !isRun(t) {
			prepare.Steps = change(prepare.Steps, t, PlaceFact, Ready)
			prepare.Steps = change(prepare.Steps, t, ModelFact+" "+id, Ready)
			prepare.Steps = change(prepare.Steps, t, ReleaseFact(id), Ready)
			continue
		}
		isNew := now[t][PlaceFact] == ""
		prepare.Steps = change(prepare.Steps, t, ReleaseFact(id), Ready)
		if isNew {
			// A Cloud Run service comes with its first revision and sends it
			// everything. All three facts are one call's doing; the place stands
			// last because it must be the first to be undone.
			prepare.Steps = change(prepare.Steps, t, SplitFact, Split{id: 100}.String())
			prepare.Steps = change(prepare.Steps, t, PlaceFact, Ready)
		}
	}
	stages := []Stage{prepare}
	keep := most(now, id) // what a rollback goes back to stays ready

	for i, pc := range percents {
		stage := Stage{Name: fmt.Sprintf("%d %%", pc), Smoke: id}
		if i < len(percents)-1 || pc < 100 {
			stage.Bake = goal.Bake
		}
		for _, t := range servers(now) {
			split, err := facts[t].Split()
			if err != nil {
				return nil, err
			}
			stage.Steps = change(stage.Steps, t, SplitFact, split.Towards(id, pc).String())
		}
		for _, t := range aliasTargets(now) {
			if i == 0 && goal.First != "" {
				stage.Steps = change(stage.Steps, t, AliasFact+" "+goal.First, goal.Release.Version.String())
			}
			if pc == 100 && goal.Last != "" {
				stage.Steps = change(stage.Steps, t, AliasFact+" "+goal.Last, goal.Release.Version.String())
			}
		}
		stages = append(stages, stage)
		if pc == 100 {
			retire := Stage{Name: "retire", Cleanup: true}
			for _, t := range servers(now) {
				for _, old := range now[t].Releases() {
					if old != id && old != keep && keep != "" { // where nothing moves, nothing is retired
						retire.Steps = change(retire.Steps, t, ReleaseFact(old), "")
					}
				}
			}
			stages = append(stages, retire)
		}
	}
	return withSteps(stages), nil
}

func isRun(target string) bool { return strings.HasPrefix(target, "run/") }

func rearrangement(now Snapshot, goal Goal) ([]Stage, error) {
	facts := clone(now)
	change := changer(facts, nil)
	check, stage := Stage{Name: "check", Smoke: goal.Serving}, Stage{Name: "shift", Smoke: goal.Serving}
	for _, t := range servers(now) {
		want, ok := goal.Splits[t]
		if !ok {
			continue
		}
		have, err := now[t].Split()
		if err != nil {
			return nil, err
		}
		for _, id := range want.Names() {
			if now[t][ReleaseFact(id)] != Ready && have[id] == 0 {
				return nil, fault.Newf(fault.NotFound, "%s has no release %s that could take traffic", t, id).
					WithHint("`tftctl status` shows what is ready there; `tftctl deploy` makes a release ready")
			}
		}
		stage.Steps = change(stage.Steps, t, SplitFact, want.String())
	}
	for _, t := range aliasTargets(now) {
		for _, alias := range sortedKeys(goal.Aliases) {
			stage.Steps = change(stage.Steps, t, AliasFact+" "+alias, goal.Aliases[alias])
		}
	}
	if len(stage.Steps) == 0 {
		return nil, nil
	}
	return withSteps([]Stage{check, stage}), nil
}

func removal(now Snapshot, targets []string) ([]Stage, error) {
	facts := clone(now)
	change := changer(facts, nil)
	stage := Stage{Name: "remove"}
	for _, t := range targets {
		if place := now[t][PlaceFact]; place != "" && place != Ready {
			return nil, fault.Newf(fault.Blocked, "%s was not made by tftctl and is left alone", t).
				WithHint("remove it with the tool that made it, or name another in tftctl.yaml")
		}
		if !isRun(t) { // a service goes with all it holds
			stage.Steps = change(stage.Steps, t, SplitFact, "")
			for _, id := range now[t].Releases() {
				stage.Steps = change(stage.Steps, t, ReleaseFact(id), "")
			}
		}
		stage.Steps = change(stage.Steps, t, PlaceFact, "")
	}
	return withSteps([]Stage{stage}), nil
}

// changer returns a function that appends the step that gives fact the value
// to, unless facts show it already, and notes that they will.
func changer(facts Snapshot, r *Release) func(steps []Step, target, fact, to string) []Step {
	return func(steps []Step, target, fact, to string) []Step {
		from := facts[target][fact]
		if from == to {
			return steps
		}
		facts[target][fact] = to
		s := Step{Target: target, Fact: fact, From: from, To: to}
		if r != nil && strings.HasSuffix(fact, " "+r.ID) {
			s.Release = r
		}
		return append(steps, s)
	}
}

func withSteps(stages []Stage) []Stage {
	return slices.DeleteFunc(stages, func(s Stage) bool { return len(s.Steps) == 0 && s.Bake == 0 && s.Smoke == "" })
}
