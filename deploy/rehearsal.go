package deploy

import (
	"context"
	"fmt"
	"slices"
)

// Rehearsal returns the Runner that stands in for the engine under --dry-run:
// it checks that every step's From still holds and changes nothing.
func Rehearsal(targets []Target) Runner { return rehearsal(targets) }

type rehearsal []Target

func (r rehearsal) Run(ctx context.Context, p Plan) (Report, error) {
	now, err := Observe(ctx, r...)
	if err != nil {
		return Report{Plan: p}, err
	}
	facts := clone(now)
	for _, stage := range p.Stages {
		for _, s := range stage.Steps {
			if !slices.Contains(now.Names(), s.Target) {
				return Report{Plan: p}, fmt.Errorf("the plan names target %s, which tftctl.yaml does not", s.Target)
			}
			if _, err := s.Expect(facts[s.Target][s.Fact]); err != nil {
				return Report{Plan: p}, err
			}
			facts[s.Target][s.Fact] = s.To
		}
	}
	return Report{Plan: p, Status: "rehearsed"}, nil
}
