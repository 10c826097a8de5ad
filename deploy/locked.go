package deploy

import (
	"context"
	"errors"

	"github.com/tftctl/tftctl/deploy/lock"
)

// Locked returns r so that it runs only while it holds l. When the lease is
// lost, the run is cancelled; when it ends, however it ends, the lock is free.
func Locked(r Runner, l *lock.Lock) Runner { return locked{r, l} }

type locked struct {
	Runner
	lock *lock.Lock
}

func (l locked) Run(ctx context.Context, p Plan) (Report, error) {
	held, ctx, err := l.lock.Acquire(ctx, p.Verb)
	if err != nil {
		return Report{Plan: p}, err
	}
	report, err := l.Runner.Run(ctx, p)
	return report, errors.Join(err, held.Release())
}
