// Package cloudrun is a deploy.Target over a Cloud Run service.
package cloudrun

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/api/iterator"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/gcp"
)

// Service is a handle on a Cloud Run service.
type Service struct {
	place     gcp.Endpoint
	id        string
	settings  Settings
	services  func() (*run.ServicesClient, error)
	revisions func() (*run.RevisionsClient, error)
}

var (
	_ deploy.Target = (*Service)(nil)
	_ deploy.Prober = (*Service)(nil)
)

// New returns a handle on the service called id. It cannot fail and costs
// nothing: clients are made by the first call that needs them.
func New(place gcp.Endpoint, id string, settings Settings) *Service {
	return &Service{
		place: place, id: id, settings: settings,
		services: sync.OnceValues(func() (*run.ServicesClient, error) {
			ctx := context.Background() // the client outlives the call that makes it
			opts, err := place.Options(ctx, "run")
			if err != nil {
				return nil, err
			}
			return run.NewServicesClient(ctx, opts...)
		}),
		revisions: sync.OnceValues(func() (*run.RevisionsClient, error) {
			ctx := context.Background()
			opts, err := place.Options(ctx, "run")
			if err != nil {
				return nil, err
			}
			return run.NewRevisionsClient(ctx, opts...)
		}),
	}
}

// Name implements deploy.Target: run/REGION/SERVICE.
func (s *Service) Name() string { return "run/" + s.place.Region + "/" + s.id }

func (s *Service) resource() string { return s.place.Parent() + "/services/" + s.id }

// The labels by which we know our own.
const (
	managedBy    = "managed-by"
	us           = "tftctl"
	releaseLabel = "tftctl-release"
)

// state is the service as one look found it.
type state struct {
	service   *runpb.Service    // nil: there is none
	releases  map[string]string // our releases by the short name of their revision
	revisions map[string]*runpb.Revision
}

func (s *Service) read(ctx context.Context) (state, error) {
	st := state{releases: map[string]string{}, revisions: map[string]*runpb.Revision{}}
	services, err := s.services()
	if err != nil {
		return st, gcp.Fault(err)
	}
	st.service, err = services.GetService(ctx, &runpb.GetServiceRequest{Name: s.resource()})
	if err = gcp.Fault(err); err != nil {
		if fault.KindOf(err) == fault.NotFound {
			return st, nil
		}
		return st, err
	}
	revisions, err := s.revisions()
	if err != nil {
		return st, gcp.Fault(err)
	}
	for it := revisions.ListRevisions(ctx, &runpb.ListRevisionsRequest{Parent: s.resource()}); ; {
		r, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return st, nil
		}
		if err != nil {
			return st, gcp.Fault(err)
		}
		name := short(r.GetName())
		st.revisions[name] = r
		if id := r.GetLabels()[releaseLabel]; id != "" {
			st.releases[name] = id
		}
	}
}

func short(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// Look implements deploy.Target. A release is ready while its revision is, and
// carries the release's ID as its tag, by which it can be asked without traffic.
func (s *Service) Look(ctx context.Context) (deploy.Facts, error) {
	st, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	return st.facts(), nil
}

func (st state) facts() deploy.Facts {
	facts := deploy.Facts{}
	if st.service == nil {
		return facts
	}
	facts[deploy.PlaceFact] = deploy.Foreign
	if st.service.GetLabels()[managedBy] == us {
		facts[deploy.PlaceFact] = deploy.Ready
	}
	split := deploy.Split{}
	for _, t := range st.service.GetTrafficStatuses() {
		name := short(t.GetRevision())
		if name == "" { // whatever is the latest, at a service of somebody else's
			name = short(st.service.GetLatestReadyRevision())
		}
		id := st.releases[name]
		if id != "" && t.GetTag() == id && ready(st.revisions[name]) {
			facts[deploy.ReleaseFact(id)] = deploy.Ready
		}
		if id == "" {
			id = name // a revision of somebody else's
		}
		split[id] += int(t.GetPercent())
	}
	facts[deploy.SplitFact] = split.String()
	return facts
}

func ready(r *runpb.Revision) bool {
	for _, c := range r.GetConditions() {
		if c.GetType() == "Ready" {
			return c.GetState() == runpb.Condition_CONDITION_SUCCEEDED
		}
	}
	return r != nil && !r.GetReconciling()
}

// Start implements deploy.Target.
func (s *Service) Start(ctx context.Context, step deploy.Step) (string, error) {
	st, err := s.read(ctx)
	if err != nil {
		return "", err
	}
	if done, err := step.Expect(st.facts()[step.Fact]); done || err != nil {
		return "", err
	}
	kind, id, _ := strings.Cut(step.Fact, " ")
	switch {
	case kind == deploy.ReleasePrefix && step.To == deploy.Ready:
		return s.release(ctx, st, step)
	case kind == deploy.ReleasePrefix && step.To == "":
		return s.update(ctx, st.service, st.traffic(nil, "", id), nil)
	case kind == deploy.SplitFact:
		split, err := deploy.ParseSplit(step.To)
		if err != nil {
			return "", err
		}
		if len(split) == 0 {
			return "", fault.Newf(fault.Invalid, "%s: a Cloud Run service always serves 100 %% of its traffic", s.Name())
		}
		if err := st.canServe(s.Name(), split); err != nil {
			return "", err
		}
		return s.update(ctx, st.service, st.traffic(split, "", ""), nil)
	case kind == deploy.PlaceFact && step.To == "":
		return s.delete(ctx, st.service)
	}
	return "", fault.Newf(fault.Invalid, "%s cannot do %s", s.Name(), step)
}

// canServe refuses a split that names who cannot serve, before anything moves.
func (st state) canServe(target string, split deploy.Split) error {
	for _, id := range split.Names() {
		if _, ok := st.revisionOf(id); !ok {
			return fault.Newf(fault.NotFound, "%s has no ready release %s", target, id).WithHint("`tftctl status` shows what is ready there")
		}
	}
	return nil
}

// revisionOf returns the short name of the revision that serves release id: the
// ready one, where an earlier attempt failed. A revision that is not ours is its own name.
func (st state) revisionOf(id string) (string, bool) {
	for name, release := range st.releases {
		if release == id && ready(st.revisions[name]) {
			return name, true
		}
	}
	_, ok := st.revisions[id]
	return id, ok
}

// traffic returns what the service is to serve: split, or what it serves now
// where split is nil; and a tag for each release that is ready, and for added,
// the name of a revision, but not for removed.
func (st state) traffic(split deploy.Split, added, removed string) []*runpb.TrafficTarget {
	if split == nil {
		split, _ = deploy.ParseSplit(st.facts()[deploy.SplitFact])
	}
	var out []*runpb.TrafficTarget
	target := func(revision, tag string, percent int) {
		out = append(out, &runpb.TrafficTarget{
			Type:     runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION,
			Revision: revision, Tag: tag, Percent: int32(percent),
		})
	}
	seen := map[string]bool{}
	for _, id := range split.Names() {
		name, _ := st.revisionOf(id)
		tag := ""
		if st.releases[name] == id && id != removed {
			tag = id
		}
		target(name, tag, split[id])
		seen[id] = true
	}
	for _, t := range st.service.GetTraffic() { // tags without traffic stay, ours and others'
		name := short(t.GetRevision())
		id := t.GetTag()
		ours := st.releases[name] == id
		if id == "" || id == removed || ours && (seen[id] || !ready(st.revisions[name])) {
			continue // a release that did not get ready would hold up whatever comes after it
		}
		target(name, id, 0)
	}
	if added != "" {
		target(added, st.releases[added], 0)
	}
	return out
}

// update sends the service with new traffic and, where template is not nil, a
// new revision. The etag makes the write conditional on what was read.
func (s *Service) update(ctx context.Context, now *runpb.Service, traffic []*runpb.TrafficTarget, template *runpb.RevisionTemplate) (string, error) {
	services, err := s.services()
	if err != nil {
		return "", gcp.Fault(err)
	}
	now.Traffic = traffic
	if template != nil {
		now.Template = template
	}
	op, err := services.UpdateService(ctx, &runpb.UpdateServiceRequest{Service: now})
	if err != nil {
		return "", gcp.Fault(err)
	}
	return op.Name(), nil
}

// release makes the step's release ready: a revision that has its tag and no
// traffic; or the service itself, which begins with its first revision.
func (s *Service) release(ctx context.Context, st state, step deploy.Step) (string, error) {
	if step.Release == nil {
		return "", fault.Newf(fault.Invalid, "the plan does not say what release %s is", step.Fact).WithHint("plan again")
	}
	id := step.Release.ID
	if name, ok := st.revisionOf(id); ok { // it was retired: its tag is enough
		st.releases[name] = id
		return s.update(ctx, st.service, st.traffic(nil, name, ""), nil)
	}
	name := s.freeName(st, id)
	template := s.settings.template(name, *step.Release)
	if st.service != nil {
		st.releases[name] = id
		return s.update(ctx, st.service, st.traffic(nil, name, ""), template)
	}
	services, err := s.services()
	if err != nil {
		return "", gcp.Fault(err)
	}
	op, err := services.CreateService(ctx, &runpb.CreateServiceRequest{
		Parent: s.place.Parent(), ServiceId: s.id, Service: s.settings.service(template, id),
	})
	if err != nil {
		return "", gcp.Fault(err)
	}
	return op.Name(), nil
}

// freeName returns the name of the release's next revision. A name is used
// once: after an attempt that failed the next one carries a number.
func (s *Service) freeName(st state, id string) string {
	name := s.id + "-" + id
	for n := 2; st.revisions[name] != nil; n++ {
		name = fmt.Sprintf("%s-%s-%d", s.id, id, n)
	}
	return name
}

func (s *Service) delete(ctx context.Context, now *runpb.Service) (string, error) {
	if now.GetLabels()[managedBy] != us {
		return "", fault.Newf(fault.Blocked, "%s was not made by tftctl and is left alone", s.Name())
	}
	services, err := s.services()
	if err != nil {
		return "", gcp.Fault(err)
	}
	op, err := services.DeleteService(ctx, &runpb.DeleteServiceRequest{Name: s.resource(), Etag: now.GetEtag()})
	if err != nil {
		return "", gcp.Fault(err)
	}
	return op.Name(), nil
}

// Wait implements deploy.Target.
func (s *Service) Wait(ctx context.Context, step deploy.Step, operation string) error {
	if operation != "" {
		services, err := s.services()
		if err != nil {
			return gcp.Fault(err)
		}
		if err := gcp.WaitOperation(ctx, services, operation); err != nil {
			return err
		}
	}
	return step.Confirm(ctx, s)
}
