package roster_test

import (
	"testing"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/serve/predict"
	"github.com/tftctl/tftctl/serve/roster"
)

func TestEmptyRosterIsUnavailable(t *testing.T) {
	t.Parallel()
	r := roster.New()
	if _, _, err := r.Find("", ""); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
	if r.Serving() {
		t.Error("an empty roster says that it serves")
	}
}

func TestModelsAreFoundByNameAndVersion(t *testing.T) {
	t.Parallel()
	r := roster.New()
	r.Enter(&predict.Model{Name: "forecast", Version: "v2"}, func() {})
	for _, c := range []struct {
		name, version string
		want          bool
	}{{"", "", true}, {"forecast", "", true}, {"forecast", "v2", true}, {"other", "", false}, {"forecast", "v1", false}} {
		_, done, err := r.Find(c.name, c.version)
		if (err == nil) != c.want || (err != nil && fault.KindOf(err) != fault.NotFound) {
			t.Errorf("Find(%q, %q): %v, want found %v", c.name, c.version, err, c.want)
		}
		if done != nil {
			done()
		}
	}
}

func TestExchangedModelLivesUntilItsLastRequest(t *testing.T) {
	t.Parallel()
	r := roster.New()
	closed := map[string]int{}
	enter := func(version string) {
		r.Enter(&predict.Model{Name: "forecast", Version: version}, func() { closed[version]++ })
	}
	enter("v1")
	first, done, err := r.Find("", "")
	if err != nil {
		t.Fatal(err)
	}
	enter("v2")
	if first.Version != "v1" || closed["v1"] != 0 {
		t.Errorf("v1 was closed %d times while a request uses it", closed["v1"])
	}
	if now, finish, err := r.Find("", ""); err != nil || now.Version != "v2" {
		t.Errorf("got %v, %v; want v2", now, err)
	} else {
		finish()
	}
	done()
	done() // twice is once
	if closed["v1"] != 1 {
		t.Errorf("v1 was closed %d times, want once", closed["v1"])
	}
	r.Clear()
	if closed["v2"] != 1 {
		t.Errorf("v2 was closed %d times, want once", closed["v2"])
	}
}
