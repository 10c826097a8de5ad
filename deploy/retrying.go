package deploy

import (
	"context"
	"time"

	"github.com/tftctl/tftctl/pkg/fault"
)

// Retrying returns t with what Google's clients neither repeat nor bound:
// every call has a deadline, and one that fails because the other side was not
// there is repeated. Start may be repeated because starting twice is harmless.
func Retrying(t Target) Target { return retrying{t} }

type retrying struct{ Target }

const (
	callPatience = 60 * time.Second       // of one call that should answer at once
	firstPause   = 200 * time.Millisecond // doubled with each attempt
	attempts     = 4
)

func (r retrying) Look(ctx context.Context) (facts Facts, err error) {
	err = retry(ctx, func(ctx context.Context) error {
		facts, err = r.Target.Look(ctx)
		return err
	})
	return facts, err
}

func (r retrying) Start(ctx context.Context, s Step) (operation string, err error) {
	err = retry(ctx, func(ctx context.Context) error {
		operation, err = r.Target.Start(ctx, s)
		return err
	})
	return operation, err
}

// retry calls call until it succeeds, fails for good, or has had its attempts.
func retry(ctx context.Context, call func(context.Context) error) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		one, cancel := context.WithTimeout(ctx, callPatience)
		err := call(one)
		cancel()
		if err == nil || attempt == attempts || fault.KindOf(err) != fault.Unavailable && fault.KindOf(err) != fault.Limited {
			return err
		}
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
		pause *= 2
	}
}
