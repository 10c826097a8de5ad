package deploy

import (
	"context"
	"fmt"

	"github.com/tftctl/tftctl/deploy/journal"
)

// Journaled returns t with every start written down: the intent before, the
// operation's name after it, the outcome at the end, each durable before the
// next call. Without an intent nothing is started.
func Journaled(t Target, txn *journal.Txn) Target { return &journaled{t, txn, map[Step]int{}} }

type journaled struct {
	Target
	txn  *journal.Txn
	open map[Step]int // the journal's number of each step that was started
}

func (j *journaled) Start(ctx context.Context, s Step) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err // what is not started needs no intent
	}
	n, err := j.txn.Intent(ctx, journal.Step{Target: s.Target, Fact: s.Fact, From: s.From, To: s.To})
	if err != nil {
		return "", fmt.Errorf("write the intent: %w", err)
	}
	j.open[s] = n
	operation, err := j.Target.Start(ctx, s)
	if err != nil {
		return "", j.outcome(ctx, s, err)
	}
	if operation == "" {
		return "", nil
	}
	return operation, j.txn.Operation(ctx, n, operation)
}

func (j *journaled) Wait(ctx context.Context, s Step, operation string) error {
	return j.outcome(ctx, s, j.Target.Wait(ctx, s, operation))
}

// outcome writes down how s ended and returns err, or why it could not be written.
func (j *journaled) outcome(ctx context.Context, s Step, err error) error {
	if ctx.Err() != nil {
		return err // the step is still open: the journal must not say that it ended
	}
	if writeErr := j.txn.Outcome(ctx, j.open[s], err); writeErr != nil && err == nil {
		return fmt.Errorf("write the outcome: %w", writeErr)
	}
	return err
}
