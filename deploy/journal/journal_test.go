package journal_test

import (
	"testing"

	"github.com/tftctl/tftctl/deploy/journal"
	"github.com/tftctl/tftctl/pkg/blob"
	"github.com/tftctl/tftctl/pkg/fault"
)

func TestAProcessThatLostItsPlaceWritesNoMore(t *testing.T) {
	t.Parallel()
	j := journal.New(new(blob.Memory), "j/")
	old, err := j.Begin(t.Context(), journal.Entry{Verb: "deploy"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Begin(t.Context(), journal.Entry{Verb: "rollback"}); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Intent(t.Context(), journal.Step{Fact: "split"}); fault.KindOf(err) != fault.Locked || err == nil {
		t.Errorf("an intent after the takeover: %v, want Locked", err)
	}
	entries, err := j.Entries(t.Context())
	if err != nil || len(entries) != 2 || entries[0].Status != journal.Interrupted || entries[1].ID != "000002" {
		t.Errorf("entries %+v, %v", entries, err)
	}
}

func TestLaterFormsAreNotGuessed(t *testing.T) {
	t.Parallel()
	store := new(blob.Memory)
	if _, err := store.Put(t.Context(), "j/000001.json", []byte(`{"schema":"tftctl/journal/v2"}`), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.New(store, "j/").Entries(t.Context()); fault.KindOf(err) != fault.Invalid || err == nil {
		t.Errorf("a journal of a later form: %v, want Invalid", err)
	}
}

func TestLastGood(t *testing.T) {
	t.Parallel()
	entry := func(verb, leaving, serving, status string) journal.Entry {
		return journal.Entry{ID: verb + serving, Verb: verb, Leaving: leaving, Serving: serving, Status: status}
	}
	one := entry("deploy", "", "v1", journal.Done)
	two := entry("deploy", "v1", "v2", journal.Done)
	for _, c := range []struct {
		name    string
		entries []journal.Entry
		leaving string
		want    string // "": NotFound
	}{
		{"the one before", []journal.Entry{one, two}, "v2", "v1"},
		{"none before", []journal.Entry{one}, "v1", ""},
		{"not what failed", []journal.Entry{one, two, entry("deploy", "v2", "v3", journal.RolledBack)}, "v2", "v1"},
		{"not what is held", []journal.Entry{one, entry("deploy", "v1", "v1", journal.Held)}, "v2", "v1"},
		{"not what the last rollback left", []journal.Entry{one, two, entry("rollback", "v2", "v1", journal.Done)}, "v1", ""},
		{"what it left, deployed again", []journal.Entry{one, two, entry("rollback", "v2", "v1", journal.Done), entry("deploy", "v1", "v2", journal.Done), entry("deploy", "v2", "v3", journal.Done)}, "v3", "v2"},
		{"nothing from before an undeploy", []journal.Entry{one, entry("undeploy", "v1", "", journal.Done), two}, "v2", ""},
	} {
		got, err := journal.LastGood(c.entries, c.leaving)
		if c.want == "" {
			if fault.KindOf(err) != fault.NotFound || err == nil {
				t.Errorf("%s: %v, %v; want NotFound", c.name, got.Serving, err)
			}
			continue
		}
		if err != nil || got.Serving != c.want {
			t.Errorf("%s: %q, %v; want %s", c.name, got.Serving, err, c.want)
		}
	}
}
