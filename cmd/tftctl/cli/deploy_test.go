package cli

import (
	"strings"
	"testing"

	"github.com/tftctl/tftctl/deploy"
)

func TestReportSaysOnlyWhatIsTrue(t *testing.T) {
	t.Parallel()
	plan := deploy.Plan{Verb: "deploy", Serving: "v2-0a1b2c3d", Stages: []deploy.Stage{{Steps: make([]deploy.Step, 3)}}}
	for _, c := range []struct {
		status string
		done   int
		want   string
	}{
		{"done", 3, "deploy done: 3 of 3 steps, serving v2-0a1b2c3d, journal 000004\n"},
		{"held", 3, "deploy held: 3 of 3 steps, serving v2-0a1b2c3d, journal 000004\n"},
		{"interrupted", 1, "deploy interrupted: 1 of 3 steps, journal 000004\n"},
		{"rolled-back", 0, "deploy rolled-back, journal 000004\n"},
		{"failed", 2, "deploy failed, journal 000004\n"},
	} {
		var out strings.Builder
		report := reportResult{deploy.Report{Plan: plan, Txn: "000004", Done: c.done, Status: c.status}}
		if err := report.Text(&text{Writer: &out}); err != nil || out.String() != c.want {
			t.Errorf("%s: got %q (%v), want %q", c.status, out.String(), err, c.want)
		}
	}
}
