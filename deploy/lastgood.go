package deploy

import (
	"slices"
	"strings"

	"github.com/tftctl/tftctl/deploy/journal"
	"github.com/tftctl/tftctl/pkg/fault"
)

// Alone returns the release that has all traffic wherever anything serves; ""
// where traffic is shared, or nothing serves.
func (s Snapshot) Alone() string {
	alone := ""
	for _, t := range servers(s) {
		if s[t][PlaceFact] == "" {
			continue
		}
		split, err := s[t].Split()
		names := split.Names()
		if err != nil || len(names) != 1 || alone != "" && alone != names[0] {
			return ""
		}
		alone = names[0]
	}
	return alone
}

// After returns what e left behind.
func After(e journal.Entry) Snapshot {
	s := Snapshot{}
	for t, facts := range e.After {
		s[t] = facts
	}
	return s
}

// LastGood returns the transaction that a rollback goes back to: the newest of
// entries, oldest first, after which one release had all traffic and had passed
// its gates. Where that release has everything now, it is the one to leave,
// and an earlier one is looked for; while traffic is shared, or a run has
// stopped halfway, even before it moved any, it is the one to go back to.
//
// A release that a rollback left is not good any more, unless it was deployed
// again since.
func LastGood(entries []journal.Entry, now Snapshot) (journal.Entry, error) {
	left := map[string]bool{}
	if len(entries) > 0 && settled(entries[len(entries)-1]) {
		left[now.Alone()] = true
	}
	for _, e := range slices.Backward(entries) {
		if e.Status == journal.Done {
			if nothingServes(After(e)) {
				break // what served before is gone
			}
			if id := After(e).Alone(); id != "" && !left[id] {
				return e, nil
			}
		}
		if e.Verb == RollbackVerb && e.Leaving != "" {
			left[e.Leaving] = true
		}
	}
	return journal.Entry{}, fault.Newf(fault.NotFound, "there is no earlier release that passed its gates").
		WithHint("`tftctl history` shows what was; `tftctl traffic set` moves traffic by hand")
}

// settled reports whether e came to an end that it meant: what serves is what
// somebody wanted, or nothing was changed.
func settled(e journal.Entry) bool {
	switch e.Status {
	case journal.Done, journal.RolledBack:
		return true
	case journal.Failed:
		return len(e.Steps) == 0
	}
	return false
}

// GoodCalled returns the newest of entries after which the release called name,
// v12 or v12-3f9a1c2b, had all traffic.
func GoodCalled(entries []journal.Entry, name string) (journal.Entry, error) {
	for _, e := range slices.Backward(entries) {
		id := After(e).Alone()
		if e.Status == journal.Done && id != "" && (id == name || strings.HasPrefix(id, name+"-")) {
			return e, nil
		}
	}
	return journal.Entry{}, fault.Newf(fault.NotFound, "no release %s passed its gates here", name).WithHint("`tftctl history` shows what did")
}

func nothingServes(s Snapshot) bool {
	for _, t := range servers(s) {
		if s[t][PlaceFact] != "" {
			return false
		}
	}
	return true
}

// Forgotten returns the targets that served after the newest transaction that
// came to its end and that now does not look at: their names were changed in
// the configuration, or taken out.
func Forgotten(entries []journal.Entry, now Snapshot) (names []string) {
	for _, e := range slices.Backward(entries) {
		if len(e.After) == 0 {
			continue
		}
		for _, t := range servers(After(e)) {
			if _, known := now[t]; !known && e.After[t][PlaceFact] != "" {
				names = append(names, t)
			}
		}
		break
	}
	return names
}

// HeldRelease returns the release that promote goes on with: of the newest
// rollout that is held, or of a promote that did not come to its end. Traffic
// that was set by hand in between changes nothing about it.
func HeldRelease(entries []journal.Entry) (journal.Entry, error) {
	for _, e := range slices.Backward(entries) {
		unfinished := e.Verb == PromoteVerb && e.Status != journal.Done
		if e.Status == journal.Held && e.Release != "" || unfinished && e.Status != journal.RolledBack {
			return e, nil
		}
		if e.Verb != TrafficVerb && !unfinished {
			break
		}
	}
	return journal.Entry{}, fault.Newf(fault.NotFound, "no release is held at a share of the traffic").
		WithHint("`tftctl deploy --strategy canary --hold` begins one; `tftctl history` shows what was")
}
