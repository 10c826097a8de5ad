package deploy_test

import (
	"slices"
	"testing"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/deploy/journal"
	"github.com/tftctl/tftctl/pkg/fault"
)

// world of splits, the same at both targets; "": nothing serves.
func splits(atRun, atVertex string) map[string]map[string]string {
	out := map[string]map[string]string{run: {}, vertex: {}, aliases: {}}
	for t, split := range map[string]string{run: atRun, vertex: atVertex} {
		if split != "" {
			out[t] = map[string]string{"place": "ready", "split": split}
		}
	}
	return out
}

func entry(verb, leaving, status, split string) journal.Entry {
	e := journal.Entry{Verb: verb, Leaving: leaving, Status: status}
	if status == journal.Done || status == journal.Held {
		e.After = splits(split, split)
	}
	return e
}

func TestLastGood(t *testing.T) {
	t.Parallel()
	const a, b, c = "v1-a=100", "v2-b=100", "v3-c=100"
	one := entry("deploy", "", journal.Done, a)
	two := entry("deploy", "v1-a", journal.Done, b)
	back := entry("rollback", "v2-b", journal.Done, a)
	by := func(split string) journal.Entry { return entry("traffic set", "", journal.Done, split) }
	for _, k := range []struct {
		name            string
		entries         []journal.Entry
		atRun, atVertex string
		want            string // "": NotFound
	}{
		{"the one before", []journal.Entry{one, two}, b, b, "v1-a"},
		{"none before", []journal.Entry{one}, a, a, ""},
		{"what serves, while a canary is held", []journal.Entry{one, entry("deploy", "", journal.Held, "v1-a=90,v2-b=10")}, "v1-a=90,v2-b=10", "v1-a=90,v2-b=10", "v1-a"},
		{"what served, when a rollout stopped halfway", []journal.Entry{one, entry("deploy", "v1-a", journal.Interrupted, "")}, b, a, "v1-a"},
		{"what served, when it stopped behind the last split", []journal.Entry{one, entry("deploy", "v1-a", journal.Interrupted, "")}, b, b, "v1-a"},
		{"what served, when it stopped before traffic moved", []journal.Entry{two, one, entry("deploy", "v1-a", journal.Running, "")}, a, a, "v1-a"},
		{"the one before, when a run changed nothing", []journal.Entry{two, one, entry("deploy", "v1-a", journal.Failed, "")}, a, a, "v2-b"},
		{"the end of a rollback that stopped before its last step", []journal.Entry{one, two, entry("rollback", "v2-b", journal.Interrupted, "")}, a, a, "v1-a"},
		{"not what was put back", []journal.Entry{one, two, entry("deploy", "", journal.RolledBack, "")}, b, b, "v1-a"},
		{"not what the last rollback left", []journal.Entry{one, two, back}, a, a, ""},
		{"not what a rollback has not quite left", []journal.Entry{one, two, entry("rollback", "v2-b", journal.Failed, "")}, a, b, "v1-a"},
		{"nor where it has changed nothing yet", []journal.Entry{one, two, entry("rollback", "v2-b", journal.Interrupted, "")}, b, b, "v1-a"},
		{"what it left, deployed again", []journal.Entry{one, two, back, two, entry("deploy", "v2-b", journal.Done, c)}, c, c, "v2-b"},
		{"what had everything before hands shared it", []journal.Entry{one, by("v1-a=90,v2-b=10")}, "v1-a=90,v2-b=10", "v1-a=90,v2-b=10", "v1-a"},
		{"not the minority", []journal.Entry{two, entry("deploy", "v2-b", journal.Done, a), by("v1-a=90,v2-b=10")}, "v1-a=90,v2-b=10", "v1-a=90,v2-b=10", "v1-a"},
		{"never a shared state", []journal.Entry{one, by("v1-a=92,v2-b=8"), two}, b, b, "v1-a"},
		{"nothing from before an undeploy", []journal.Entry{one, entry("undeploy", "v1-a", journal.Done, ""), two}, b, b, ""},
		{"of what still serves, when a part was undeployed", []journal.Entry{two, one, {Verb: "undeploy", Status: journal.Done, After: splits("", a)}}, "", a, "v2-b"},
	} {
		now := deploy.Snapshot{}
		for target, facts := range splits(k.atRun, k.atVertex) {
			now[target] = facts
		}
		got, err := deploy.LastGood(k.entries, now)
		if k.want == "" {
			if fault.KindOf(err) != fault.NotFound || err == nil {
				t.Errorf("%s: %v, %v; want NotFound", k.name, got, err)
			}
			continue
		}
		if id := deploy.After(got).Alone(); err != nil || id != k.want {
			t.Errorf("%s: %q, %v; want %s", k.name, id, err, k.want)
		}
	}
}

func TestGoodCalled(t *testing.T) {
	t.Parallel()
	entries := []journal.Entry{entry("deploy", "", journal.Done, "v1-a=100"), entry("deploy", "", journal.Done, "v12-b=100"), entry("deploy", "", journal.Interrupted, "v3-c=100")}
	for name, want := range map[string]string{"v1": "v1-a", "v12": "v12-b", "v12-b": "v12-b", "v3": "", "v": "", "": ""} {
		e, err := deploy.GoodCalled(entries, name)
		if got := deploy.After(e).Alone(); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestHeldRelease(t *testing.T) {
	t.Parallel()
	of := func(verb, status string) journal.Entry {
		return journal.Entry{Verb: verb, Status: status, Release: "r"}
	}
	held, promoted := of("deploy", journal.Held), of("promote", journal.Done)
	for name, c := range map[string]struct {
		entries []journal.Entry
		want    bool
	}{
		"a held one":                 {[]journal.Entry{held}, true},
		"also after traffic was set": {[]journal.Entry{held, of("traffic set", journal.Done)}, true},
		"a promote that was stopped": {[]journal.Entry{held, of("promote", journal.Interrupted)}, true},
		"or killed":                  {[]journal.Entry{held, of("promote", journal.Running)}, true},
		"or put back":                {[]journal.Entry{held, of("promote", journal.RolledBack)}, true},
		"not one that is promoted":   {[]journal.Entry{held, promoted}, false},
		"not after a rollback":       {[]journal.Entry{held, of("rollback", journal.Done)}, false},
		"not after another deploy":   {[]journal.Entry{held, of("deploy", journal.Done)}, false},
		"none in an empty journal":   {nil, false},
	} {
		if _, err := deploy.HeldRelease(c.entries); (err == nil) != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestForgottenTargetsAreNamed(t *testing.T) {
	t.Parallel()
	entries := []journal.Entry{entry("deploy", "", journal.Done, "v1-a=100"), {Verb: "deploy", Status: journal.Interrupted}}
	if got := deploy.Forgotten(entries, deploy.Snapshot{run: {}, aliases: {}}); !slices.Equal(got, []string{vertex}) {
		t.Errorf("forgotten: %v, want %s", got, vertex)
	}
	if got := deploy.Forgotten(entries, deploy.Snapshot{run: {}, vertex: {}}); len(got) != 0 {
		t.Errorf("forgotten: %v, want none", got)
	}
}
