package deploy

import (
	"context"
	"fmt"
	"time"
)

// Gate judges a release between two stages.
type Gate interface {
	// Check returns nil if the release called id may go on, otherwise why not.
	Check(ctx context.Context, id string) error
}

// Smoke is a Gate that asks a release for predictions wherever it can be asked.
type Smoke struct {
	Targets []Target
	Sample  []byte // a prediction request that must be answered
}

// smokePatience bounds one target's answer.
const smokePatience = 30 * time.Second

// Check implements Gate.
func (s Smoke) Check(ctx context.Context, id string) error {
	for _, t := range s.Targets {
		p, ok := t.(Prober)
		if !ok {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, smokePatience)
		err := p.Probe(ctx, id, s.Sample)
		cancel()
		if err != nil {
			return fmt.Errorf("smoke check of %s at %s: %w", id, t.Name(), err)
		}
	}
	return nil
}
