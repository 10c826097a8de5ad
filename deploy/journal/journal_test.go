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
