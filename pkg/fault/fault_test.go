package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/tftctl/tftctl/pkg/fault"
)

func TestKindAndHintSurviveWrapping(t *testing.T) {
	t.Parallel()
	inner := fault.Wrap(fault.NotFound, io.EOF, "no model forecast@9").WithHint("run `tftctl model list`")
	err := fmt.Errorf("deploy forecast@9: %w", inner)
	if got := fault.KindOf(err); got != fault.NotFound {
		t.Errorf("KindOf = %v, want NotFound", got)
	}
	if got := fault.HintOf(err); got != "run `tftctl model list`" {
		t.Errorf("HintOf = %q", got)
	}
	if !errors.Is(err, io.EOF) {
		t.Error("what lies beneath is lost")
	}
	if got, want := err.Error(), "deploy forecast@9: no model forecast@9"; got != want {
		t.Errorf("got %q, want %q: what lies beneath must not show", got, want)
	}
}

func TestUnknownErrorsAreInternal(t *testing.T) {
	t.Parallel()
	if got := fault.KindOf(io.EOF); got != fault.Internal {
		t.Errorf("KindOf = %v, want Internal", got)
	}
	if got := fault.Kind(99).String(); got != "Internal" {
		t.Errorf("String of an unknown kind = %q", got)
	}
}
