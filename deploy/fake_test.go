package deploy_test

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/pkg/fault"
)

// place is a Target in memory. It keeps the contract, and can be told to fail.
type place struct {
	name  string
	blind func() error // of Look

	mu     sync.Mutex
	facts  deploy.Facts
	starts []string                  // the steps that were started, in order
	fail   func(s deploy.Step) error // of Start
	wait   func(s deploy.Step) error // of Wait
	probe  func(id string) error     // of Probe
	hook   func(ctx context.Context) // before Start
}

func newPlace(name string) *place { return &place{name: name, facts: deploy.Facts{}} }

var (
	_ deploy.Target = (*place)(nil)
	_ deploy.Prober = (*place)(nil)
)

func (p *place) Name() string { return p.name }

func (p *place) Look(ctx context.Context) (deploy.Facts, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p.blind != nil {
		if err := p.blind(); err != nil {
			return nil, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	out := maps.Clone(p.facts)
	maps.DeleteFunc(out, func(_, v string) bool { return v == "" })
	return out, nil
}

func (p *place) Start(ctx context.Context, s deploy.Step) (string, error) {
	if p.hook != nil {
		p.hook(ctx)
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		if err := p.fail(s); err != nil {
			return "", err
		}
	}
	if done, err := s.Expect(p.facts[s.Fact]); done || err != nil {
		return "", err
	}
	p.facts[s.Fact] = s.To
	p.starts = append(p.starts, s.Fact+"="+s.To)
	return fmt.Sprintf("operations/%d", len(p.starts)), nil
}

func (p *place) Wait(_ context.Context, s deploy.Step, _ string) error {
	if p.wait != nil {
		return p.wait(s)
	}
	return nil
}

func (p *place) Probe(_ context.Context, id string, _ []byte) error {
	if p.probe != nil {
		return p.probe(id)
	}
	return nil
}

var errAway = fault.Newf(fault.Unavailable, "nobody answers")
