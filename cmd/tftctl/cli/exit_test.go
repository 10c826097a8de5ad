package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"github.com/tftctl/tftctl/pkg/fault"
)

// exits is the table that users are promised: what kind of fault ends the
// program with which code, under which name.
var exits = []struct {
	kind fault.Kind
	code int
	name string
}{
	{fault.Internal, 1, "Internal"},
	{fault.Malformed, 3, "InvalidConfig"},
	{fault.Invalid, 3, "InvalidConfig"},
	{fault.TooLarge, 3, "InvalidConfig"},
	{fault.Blocked, 4, "Blocked"},
	{fault.Corrupt, 5, "IntegrityFailure"},
	{fault.Locked, 6, "Locked"},
	{fault.Stale, 7, "StalePlan"},
	{fault.RolledBack, 8, "RolledBack"},
	{fault.Mixed, 9, "RollbackIncomplete"},
	{fault.Inconclusive, 10, "Inconclusive"},
	{fault.Timeout, 11, "Timeout"},
	{fault.NotFound, 12, "NotFound"},
	{fault.Unauthenticated, 13, "Unauthorized"},
	{fault.Denied, 13, "Unauthorized"},
	{fault.Limited, 14, "Unavailable"},
	{fault.Unavailable, 14, "Unavailable"},
	{fault.Interrupted, 130, "Interrupted"},
}

// failing returns what a command that ends with err prints, and its exit code.
func failing(t *testing.T, err error, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	app := &App{stdout: &out, stderr: &errs}
	root := newRootCmd(app)
	root.AddCommand(&cobra.Command{Use: "fails", RunE: func(*cobra.Command, []string) error { return err }})
	code = app.execute(t.Context(), root, append([]string{"fails"}, args...))
	return out.String(), errs.String(), code
}

func TestEveryKindEndsAsPromised(t *testing.T) {
	t.Parallel()
	if len(exits) != len(exitCodes) {
		t.Errorf("%d kinds are promised, %d have an exit code", len(exits), len(exitCodes))
	}
	for _, want := range exits {
		err := fmt.Errorf("deploy forecast@13: %w", fault.Wrap(want.kind, errors.New("secret address"), "what went wrong").WithHint("what to do"))

		stdout, stderr, code := failing(t, err)
		if code != want.code || stdout != "" {
			t.Errorf("%v: exit code %d with output %q, want %d with none", want.kind, code, stdout, want.code)
		}
		if text := want.name + ": deploy forecast@13: what went wrong\nhint: what to do\n"; stderr != text {
			t.Errorf("%v: got %q, want %q", want.kind, stderr, text)
		}

		stdout, stderr, code = failing(t, err, "-o", "json")
		var got answer
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || stderr != "" {
			t.Errorf("%v: -o json printed %q and %q: %v", want.kind, stdout, stderr, err)
		}
		if want := (answer{"tftctl/v1", false, want.code, want.name, "deploy forecast@13: what went wrong", "what to do", nil}); got != want || code != want.Code {
			t.Errorf("exit code %d, %+v; want %+v", code, got, want)
		}
	}
}

func TestEveryKindHasAnExitCode(t *testing.T) {
	t.Parallel()
	for kind := fault.Internal; kind == fault.Internal || kind.String() != "Internal"; kind++ {
		if exit, ok := exitCodes[kind]; !ok || exit.code == 0 || exit.name == "" {
			t.Errorf("a fault of kind %v has exit code %d: what failed must never look as if it had worked", kind, exit.code)
		}
	}
}

func TestPlainErrorIsInternal(t *testing.T) {
	t.Parallel()
	_, stderr, code := failing(t, errors.New("oops"))
	if code != 1 || !strings.HasPrefix(stderr, "Internal: oops\nhint: ") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	_, stderr, _ = failing(t, fault.Wrap(fault.Denied, errors.New("at the bottom"), "on top"), "-v")
	if !strings.Contains(stderr, "beneath: at the bottom") {
		t.Errorf("-v does not show what lies beneath: %q", stderr)
	}
}

// row is one of the documented table: a code and its name.
var row = regexp.MustCompile("(?m)^\\| (\\d+) \\| `(\\w+)` \\|")

func TestDocumentedExitCodesAreThese(t *testing.T) {
	t.Parallel()
	type exit struct{ code, name string }
	want := map[exit]bool{
		{"0", "OK"}: true, {strconv.Itoa(exitChanges), "ChangesPresent"}: true,
		{strconv.Itoa(signalled{syscall.SIGTERM}.exitCode()), "Interrupted"}: true,
	}
	for _, e := range exitCodes {
		want[exit{strconv.Itoa(e.code), e.name}] = true
	}
	content, err := os.ReadFile("../../../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	got := map[exit]bool{}
	for _, m := range row.FindAllStringSubmatch(string(content), -1) {
		e := exit{m[1], m[2]}
		if got[e] {
			t.Errorf("%v stands twice in docs/exit-codes.md", e)
		}
		got[e] = true
	}
	if !maps.Equal(got, want) {
		t.Errorf("docs/exit-codes.md has %v\nwant %v", got, want)
	}
}

func TestSignalsEndAsShellsReportThem(t *testing.T) {
	t.Parallel()
	for signal, want := range map[os.Signal]int{os.Interrupt: 130, syscall.SIGTERM: 143} {
		if got := (signalled{signal}).exitCode(); got != want {
			t.Errorf("%v: exit code %d, want %d", signal, got, want)
		}
	}
}

func TestChangesPresentIsNoFailure(t *testing.T) {
	t.Parallel()
	if exitChanges != 2 {
		t.Errorf("plan --detailed-exitcode exits %d, want 2", exitChanges)
	}
	for kind, exit := range exitCodes {
		if exit.code == exitChanges {
			t.Errorf("%v has the code of a plan with changes", kind)
		}
	}
}
