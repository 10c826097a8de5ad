package cloudrun_test

import (
	"os"
	"testing"
	"time"

	"github.com/tftctl/tftctl/deploy/cloudrun"
	"github.com/tftctl/tftctl/deploy/deploytest"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/gcp"
)

func TestMain(m *testing.M) { os.Exit(deploytest.Main(m)) }

var settings = cloudrun.Settings{
	CPU: 1, Memory: "512MiB", CPUIdle: true, Concurrency: 80, Timeout: time.Minute, MaxInstances: 1, Ingress: "all",
}

func TestServiceKeepsTheContract(t *testing.T) {
	t.Parallel()
	deploytest.Run(t, func(t *testing.T) deploytest.Fixture {
		place, source := deploytest.Cloud(t)
		return deploytest.Fixture{Target: cloudrun.New(place, "forecaster", settings), Source: source}
	})
}

func TestUnreachableCloudIsUnavailable(t *testing.T) {
	t.Parallel()
	s := cloudrun.New(gcp.Endpoint{Address: "127.0.0.1:1", Project: "p", Region: "us-central1"}, "forecaster", settings)
	_, err := s.Look(t.Context())
	if fault.KindOf(err) != fault.Unavailable || fault.HintOf(err) == "" {
		t.Errorf("look: %v (hint %q), want Unavailable with a hint", err, fault.HintOf(err))
	}
}

func TestNamesThatCloudRunWouldRefuse(t *testing.T) {
	t.Parallel()
	short := cloudrun.New(gcp.Endpoint{}, "forecaster", settings)
	if err := short.CheckNames("v13-3f9a1c2b"); err != nil {
		t.Errorf("forecaster with v13-3f9a1c2b: %v", err)
	}
	long := cloudrun.New(gcp.Endpoint{}, "a-service-with-a-very-long-name-indeed", settings)
	if err := long.CheckNames("v13-3f9a1c2b"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("38 and 12 characters: %v, want Invalid", err)
	}
}

func TestSettingsThatCloudRunWouldRefuse(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*cloudrun.Settings){
		"three CPUs":              func(s *cloudrun.Settings) { s.CPU = 3 },
		"no concurrency":          func(s *cloudrun.Settings) { s.Concurrency = 0 },
		"over an hour":            func(s *cloudrun.Settings) { s.Timeout = 61 * time.Minute },
		"no instances":            func(s *cloudrun.Settings) { s.MaxInstances = 0 },
		"more at least than most": func(s *cloudrun.Settings) { s.MinInstances = 2 },
		"unknown ingress":         func(s *cloudrun.Settings) { s.Ingress = "everybody" },
		"memory without a unit":   func(s *cloudrun.Settings) { s.Memory = "512" },
		"too much for one CPU":    func(s *cloudrun.Settings) { s.Memory = "5GiB" },
		"too little for four":     func(s *cloudrun.Settings) { s.CPU, s.Memory = 4, "1GiB" },
	} {
		s := settings
		change(&s)
		if err := s.Check(); fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	if err := settings.Check(); err != nil {
		t.Errorf("good settings: %v", err)
	}
}
