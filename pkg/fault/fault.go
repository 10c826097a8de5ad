// Package fault is the error that crosses borders: a kind for programs, a
// message and a hint for people, and what lies beneath for the log.
package fault

import (
	"errors"
	"fmt"
)

// Kind says what sort of thing went wrong. Exit codes and HTTP statuses are
// looked up by it, so nobody compares texts.
type Kind int

// The kinds. docs/architecture.md, section 4, tables their exit codes and
// HTTP statuses.
const (
	Internal        Kind = iota // our mistake
	Malformed                   // cannot be read
	Invalid                     // can be read and is wrong
	TooLarge                    // over a size that is written down
	Blocked                     // cost or policy says no
	Corrupt                     // digest, signature, scan or chain does not hold
	Locked                      // somebody else is deploying
	Stale                       // the world is not as the plan, or a writer, saw it
	RolledBack                  // a gate failed, the last good release serves
	Mixed                       // undoing did not finish
	Inconclusive                // held at a safe weight
	Timeout                     // we stopped waiting
	NotFound                    // no such release, alias, model, server
	Unauthenticated             // who are you
	Denied                      // you may not
	Limited                     // too often
	Unavailable                 // not now, not reachable
	Interrupted                 // a signal ended the work; the journal is closed
)

var names = [...]string{
	"Internal", "Malformed", "Invalid", "TooLarge", "Blocked", "Corrupt", "Locked", "Stale", "RolledBack",
	"Mixed", "Inconclusive", "Timeout", "NotFound", "Unauthenticated", "Denied", "Limited", "Unavailable", "Interrupted",
}

// String returns the kind's name in code, such as "NotFound".
func (k Kind) String() string {
	if k < 0 || int(k) >= len(names) {
		return "Internal"
	}
	return names[k]
}

// Error is an error of a known kind. Its text is the message alone: what lies
// beneath goes to the log and never over the wire.
type Error struct {
	Kind    Kind
	Message string
	Hint    string // what to do next: a command or an edit; may be empty
	Beneath error  // for the log; may be nil
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns what lies beneath.
func (e *Error) Unwrap() error { return e.Beneath }

// Newf returns an error of kind k. As in fmt.Errorf, %w wraps.
func Newf(k Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: k, Message: err.Error(), Beneath: errors.Unwrap(err)}
}

// Wrap returns an error of kind k that says message and keeps err for the log.
func Wrap(k Kind, err error, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...), Beneath: err}
}

// WithHint sets what to do next and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// KindOf returns the kind of the outermost fault in err's chain, Internal
// where there is none.
func KindOf(err error) Kind {
	var f *Error
	if errors.As(err, &f) {
		return f.Kind
	}
	return Internal
}

// HintOf returns the first hint in err's chain, "" where there is none.
func HintOf(err error) string {
	for err != nil {
		var f *Error
		if !errors.As(err, &f) {
			return ""
		}
		if f.Hint != "" {
			return f.Hint
		}
		err = f.Beneath
	}
	return ""
}
