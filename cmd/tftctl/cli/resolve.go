package cli

import (
	"context"
	"fmt"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/pkg/registry"
)

// resolve returns the version that ref names: by number, by alias, or the
// newest where ref is "".
func (p *Project) resolve(ctx context.Context, ref string) (registry.Record, error) {
	if ref == "" {
		return p.newest(ctx)
	}
	r, err := model.ParseRef(ref)
	if err != nil {
		return registry.Record{}, err
	}
	if r.Name != p.config.Model.Name {
		return registry.Record{}, fault.Newf(fault.NotFound, "%s releases the model %s, not %s", p.config.Path, p.config.Model.Name, r.Name)
	}
	if r.Alias != "" {
		if r.Version, err = p.aliased(ctx, r.Alias); err != nil {
			return registry.Record{}, err
		}
	}
	return p.registry.Get(ctx, r.Version)
}

func (p *Project) newest(ctx context.Context) (registry.Record, error) {
	all, err := p.registry.List(ctx)
	if err != nil {
		return registry.Record{}, err
	}
	if len(all) == 0 {
		return registry.Record{}, fault.Newf(fault.NotFound, "no version of %s was pushed yet", p.config.Model.Name).WithHint("`tftctl model push DIR`")
	}
	return all[len(all)-1], nil
}

func (p *Project) aliased(ctx context.Context, alias string) (model.Version, error) {
	facts, err := p.targets[len(p.targets)-1].Look(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the aliases: %w", err)
	}
	value, ok := facts[deploy.AliasFact+" "+alias]
	if !ok {
		return 0, fault.Newf(fault.NotFound, "%s has no alias %s", p.config.Model.Name, alias).WithHint("`tftctl model list` shows the aliases there are")
	}
	return model.ParseVersion(value)
}

// release returns the release of version rec under this configuration.
func (p *Project) release(rec registry.Record) deploy.Release {
	return deploy.NewRelease(deploy.Release{
		Name: rec.Name, Version: rec.Version, Model: rec.Digest,
		Source: p.bucket.String() + "/" + p.registry.Prefix(rec.Digest),
		Image:  p.config.Image, Settings: p.config.SettingsDigest(),
	})
}

// smoke returns the gate that asks release id for predictions wherever plan
// leaves it ready.
func (p *Project) smoke(ctx context.Context, plan deploy.Plan, id string) (deploy.Gate, error) {
	v := deploy.VersionOf(id)
	rec, err := p.registry.Get(ctx, v)
	if err != nil {
		return nil, err
	}
	sample, err := p.registry.ReadFile(ctx, rec.Digest, model.SampleFile)
	if err != nil {
		return nil, fmt.Errorf("read the sample of %s@%d: %w", rec.Name, v, err)
	}
	gate := deploy.Smoke{Sample: sample}
	for _, t := range p.targets {
		if plan.Holds(t.Name(), id) {
			gate.Targets = append(gate.Targets, t)
		}
	}
	return gate, nil
}
