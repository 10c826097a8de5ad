package vertex_test

import (
	"os"
	"testing"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/deploy/alias"
	"github.com/tftctl/tftctl/deploy/deploytest"
	"github.com/tftctl/tftctl/deploy/vertex"
	"github.com/tftctl/tftctl/pkg/fault"
)

func TestMain(m *testing.M) { os.Exit(deploytest.Main(m)) }

var settings = vertex.Settings{MachineType: "n1-standard-2", MinReplicas: 1, MaxReplicas: 1}

func TestEndpointKeepsTheContract(t *testing.T) {
	t.Parallel()
	deploytest.Run(t, func(t *testing.T) deploytest.Fixture {
		place, source := deploytest.Cloud(t)
		return deploytest.Fixture{Target: vertex.New(place, "forecaster", "forecast", settings), Source: source}
	})
}

// Vertex AI's aliases are the truth: they point to our versions through the
// labels of Vertex AI's own.
func TestAliasesPointToOurVersions(t *testing.T) {
	t.Parallel()
	place, source := deploytest.Cloud(t)
	e := vertex.New(place, "forecaster", "forecast", settings)
	for v := 3; v <= 4; v++ { // Vertex AI will call them 1 and 2
		r := deploy.NewRelease(deploy.Release{Name: "forecast", Version: 3, Source: source, Image: "example.com/i:1"})
		if v == 4 {
			r = deploy.NewRelease(deploy.Release{Name: "forecast", Version: 4, Source: source, Image: "example.com/i:1"})
		}
		s := deploy.Step{Target: e.Name(), Fact: deploy.ModelFact + " " + r.ID, To: deploy.Ready, Release: &r}
		operation, err := e.Start(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Wait(t.Context(), s, operation); err != nil {
			t.Fatal(err)
		}
	}
	p := alias.New(e, "us-central1", "forecast")
	move := func(from, to string) {
		t.Helper()
		s := deploy.Step{Target: p.Name(), Fact: "alias stable", From: from, To: to}
		if _, err := p.Start(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if err := p.Wait(t.Context(), s, ""); err != nil {
			t.Fatal(err)
		}
	}
	move("", "v3")
	move("v3", "v4")
	move("v4", "v3")
	move("v3", "")
	if facts, err := p.Look(t.Context()); err != nil || len(facts) != 0 {
		t.Errorf("aliases after the last was removed: %v, %v", facts, err)
	}
	_, err := p.Start(t.Context(), deploy.Step{Target: p.Name(), Fact: "alias stable", To: "v9"})
	if fault.KindOf(err) != fault.NotFound {
		t.Errorf("an alias to a version that is not there: %v, want NotFound", err)
	}
	versions, err := e.Versions(t.Context())
	if err != nil || len(versions) != 2 {
		t.Errorf("the map to Vertex AI's numbers: %v, %v", versions, err)
	}
}

func TestSettingsThatVertexWouldRefuse(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]vertex.Settings{
		"no machine":    {MinReplicas: 1, MaxReplicas: 1},
		"scale to zero": {MachineType: "n1-standard-2", MaxReplicas: 1},
		"no range":      {MachineType: "n1-standard-2", MinReplicas: 2, MaxReplicas: 1},
	} {
		if err := s.Check(); fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
}
