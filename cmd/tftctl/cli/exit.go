package cli

import (
	"errors"

	"github.com/tftctl/tftctl/pkg/fault"
)

// exitCodes is the one table from kinds to exit codes and their public names.
var exitCodes = map[fault.Kind]struct {
	code int
	name string
}{
	fault.Internal:        {1, "Internal"},
	fault.Malformed:       {3, "InvalidConfig"},
	fault.Invalid:         {3, "InvalidConfig"},
	fault.TooLarge:        {3, "InvalidConfig"},
	fault.Blocked:         {4, "Blocked"},
	fault.Corrupt:         {5, "IntegrityFailure"},
	fault.Locked:          {6, "Locked"},
	fault.Stale:           {7, "StalePlan"},
	fault.RolledBack:      {8, "RolledBack"},
	fault.Mixed:           {9, "RollbackIncomplete"},
	fault.Inconclusive:    {10, "Inconclusive"},
	fault.Timeout:         {11, "Timeout"},
	fault.NotFound:        {12, "NotFound"},
	fault.Unauthenticated: {13, "Unauthorized"},
	fault.Denied:          {13, "Unauthorized"},
	fault.Limited:         {14, "Unavailable"},
	fault.Unavailable:     {14, "Unavailable"},
	fault.Interrupted:     {130, "Interrupted"},
}

// exitChanges is `plan --detailed-exitcode` of a plan that holds changes.
const exitChanges = 2

// asFault returns err as a fault. What is not one went wrong inside.
func asFault(err error) *fault.Error {
	var f *fault.Error
	if errors.As(err, &f) {
		whole := *f
		whole.Message = err.Error()
		whole.Hint = fault.HintOf(err)
		return &whole
	}
	return &fault.Error{Kind: fault.Internal, Message: err.Error(), Hint: "run it again with -v, and report it if it stays", Beneath: err}
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	return exitCodes[asFault(err).Kind].code
}
