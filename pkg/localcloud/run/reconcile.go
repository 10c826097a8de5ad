package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tftctl/tftctl/pkg/localcloud/fleet"
	"github.com/tftctl/tftctl/pkg/localcloud/front"
	"github.com/tftctl/tftctl/pkg/localcloud/ops"
	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

var errSecret = errors.New("a secret could not be read")

// world is what is stored about one service, read in one transaction.
type world struct {
	name      string
	key       string
	service   *runpb.Service // nil: it was deleted, or never was
	revisions map[string]*runpb.Revision
	gone      *runpb.Service
	tasks     []ops.Task
}

func (s *cloudRun) look(name string) (*world, error) {
	w := &world{name: name, revisions: map[string]*runpb.Revision{}}
	err := s.Store.View(func(tx *state.Tx) (err error) {
		if w.service, err = getService(tx, name); err != nil {
			return err
		}
		w.key = front.Claimed(tx, name)
		var gone runpb.Service
		if ok, err := tx.GetMessage(kindGone, name, &gone); err != nil {
			return err
		} else if ok {
			w.gone = &gone
		}
		if w.tasks, err = s.Ops.Unfinished(tx, name); err != nil {
			return err
		}
		return tx.Scan(kindRevision, name+"/revisions/", func(key string, v []byte) error {
			var r runpb.Revision
			if err := proto.Unmarshal(v, &r); err != nil {
				return err
			}
			w.revisions[last(key)] = &r
			return nil
		})
	})
	return w, err
}

// Resume serves again what was served before the last end, and goes on with what
// was unfinished then. It returns the instances that this needs; the requests to
// them wait until they are ready.
func (s *Server) Resume(ctx context.Context) ([]*fleet.Instance, error) {
	var names []string
	var tasks []ops.Task
	err := s.Store.View(func(tx *state.Tx) (err error) {
		if tasks, err = s.Ops.Unfinished(tx, ""); err != nil {
			return err
		}
		return tx.Scan(kindService, "", func(name string, _ []byte) error {
			names = append(names, name)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	var all []*fleet.Instance
	for _, name := range names {
		w, err := s.look(name)
		if err != nil {
			return nil, err
		}
		started, err := s.restore(ctx, w)
		if err != nil {
			s.Log.Error("serve again", "service", name, "error", err)
		}
		all = append(all, started...)
	}
	for _, t := range tasks {
		if serviceName.MatchString(t.Resource) {
			s.reconciler.Kick(t.Resource)
		}
	}
	return all, nil
}

// restore routes a service as it was last routed.
func (s *cloudRun) restore(ctx context.Context, w *world) ([]*fleet.Instance, error) {
	serving := statusTargets(w.service)
	backends, all := map[string]*fleet.Instance{}, []*fleet.Instance(nil)
	for _, revision := range addressed(serving) {
		i, err := s.need(ctx, w, revision, true)
		if err != nil {
			return all, err
		}
		backends[revision] = i
		all = append(all, i)
	}
	s.route(w, serving, backends)
	return all, nil
}

// reconcile makes what is wanted of a service true: it starts what will be
// needed, waits until all of it is ready, only then moves the traffic, and then
// lets go of what nobody can reach any more. What cannot get ready leaves the
// traffic where it is.
func (s *cloudRun) reconcile(ctx context.Context, name string) error {
	w, err := s.look(name)
	if err != nil {
		return err
	}
	if w.service == nil {
		return s.remove(w)
	}
	wanted := wantedTargets(w.service)
	backends, err := s.prepare(ctx, w, addressed(wanted))
	if ctx.Err() != nil {
		return nil //nolint:nilerr // overtaken by a change, and called again; or by the end, and resumed after the next start
	}
	if err != nil {
		return s.giveUp(w, err)
	}
	s.route(w, wanted, backends)
	if err := s.succeed(w); err != nil {
		return err
	}
	s.retireOthers(w, addressed(wanted))
	return nil
}

// failedRevision says which revision did not get ready, and why.
type failedRevision struct {
	revision string
	why      error
}

func (e *failedRevision) Error() string {
	if errors.Is(e.why, errSecret) {
		return fmt.Sprintf("Revision '%s' is not ready and cannot serve traffic. %v", e.revision, e.why)
	}
	return fmt.Sprintf("Revision '%s' is not ready and cannot serve traffic. The user-provided container failed to start and listen on the port defined provided by the PORT environment variable within the allocated timeout: %v.", e.revision, e.why)
}

// prepare waits until an instance of each of these revisions takes requests, and
// one of the latest revision even if nobody can reach it: whether it starts at
// all is part of every deployment.
func (s *cloudRun) prepare(ctx context.Context, w *world, revisions []string) (map[string]*fleet.Instance, error) {
	if r := w.revisions[last(w.service.GetLatestCreatedRevision())]; r.GetReconciling() && !slices.Contains(revisions, last(r.GetName())) {
		revisions = append(revisions, last(r.GetName()))
	}
	backends := map[string]*fleet.Instance{}
	waiting, ctx := errgroup.WithContext(ctx)
	for _, revision := range revisions {
		i, err := s.need(ctx, w, revision, false)
		if err != nil {
			return nil, &failedRevision{revision, err}
		}
		backends[revision] = i
		waiting.Go(func() error {
			if err := i.WaitReady(ctx); err != nil {
				return &failedRevision{revision, err}
			}
			return nil
		})
	}
	return backends, waiting.Wait()
}

// need returns the instance of a revision and starts it if it is not there.
// proven says that it has served before.
func (s *cloudRun) need(ctx context.Context, w *world, revision string, proven bool) (*fleet.Instance, error) {
	r := w.revisions[revision]
	if r == nil {
		return nil, fmt.Errorf("revision %s is not stored", revision)
	}
	return s.pool.Need(poolKey(w.key, r), func() (fleet.Spec, error) {
		return s.instanceSpec(ctx, w.key, r, proven)
	})
}

// poolKey tells a revision from one of the same name in an earlier service of the
// same name: they must not share a process.
func poolKey(key string, r *runpb.Revision) string {
	return targetName(key, last(r.GetName())) + "@" + r.GetUid()
}

// target is one entry of a split with its revision resolved.
type target struct {
	revision string // short name
	percent  int
	tag      string
}

// wantedTargets is the split that the service's traffic asks for.
func wantedTargets(s *runpb.Service) []target {
	var targets []target
	for _, t := range s.GetTraffic() {
		revision := t.GetRevision()
		if t.GetType() == latest {
			revision = last(s.GetLatestCreatedRevision())
		}
		targets = append(targets, target{revision, int(t.GetPercent()), t.GetTag()})
	}
	return targets
}

// statusTargets is the split that serves.
func statusTargets(s *runpb.Service) []target {
	var targets []target
	for _, t := range s.GetTrafficStatuses() {
		revision := t.GetRevision()
		if t.GetType() == latest {
			revision = last(s.GetLatestReadyRevision())
		}
		targets = append(targets, target{revision, int(t.GetPercent()), t.GetTag()})
	}
	return targets
}

// addressed returns the revisions that a request can reach.
func addressed(targets []target) []string {
	var revisions []string
	for _, t := range targets {
		if (t.percent > 0 || t.tag != "") && !slices.Contains(revisions, t.revision) {
			revisions = append(revisions, t.revision)
		}
	}
	return revisions
}

// route moves the service's traffic, all of it at once.
func (s *cloudRun) route(w *world, targets []target, backends map[string]*fleet.Instance) {
	if len(targets) == 0 {
		s.Front.Set(w.name)
		return
	}
	segments := strings.Split(w.name, "/")
	project, location, id := segments[1], segments[3], segments[5]
	timeout := w.service.GetTemplate().GetTimeout().AsDuration()
	main := front.Route{Key: w.key, Hosts: hosts(project, location, id, ""), Timeout: timeout}
	routes := []front.Route{}
	for _, t := range targets {
		name := targetName(w.key, t.revision)
		if t.percent > 0 {
			main.Targets = append(main.Targets, front.Target{Name: name, Percent: t.percent, Backend: backends[t.revision]})
		}
		if t.tag != "" {
			routes = append(routes, front.Route{
				Key: tagKey(w.key, t.tag), Hosts: hosts(project, location, id, t.tag), Timeout: timeout,
				Targets: []front.Target{{Name: name, Percent: 100, Backend: backends[t.revision]}},
			})
		}
	}
	s.Front.Set(w.name, append(routes, main)...)
}

// retireOthers lets go of the instances of w's service that no request can reach.
func (s *cloudRun) retireOthers(w *world, keep []string) {
	kept := map[string]bool{}
	for _, revision := range keep {
		kept[poolKey(w.key, w.revisions[revision])] = true
	}
	for _, key := range s.pool.Keys() {
		if strings.HasPrefix(key, w.key+"/") && !kept[key] {
			s.pool.Retire(key, w.service.GetTemplate().GetTimeout().AsDuration())
		}
	}
}

// succeed writes down that the service is as it was wanted, and ends the
// operations that waited for it.
func (s *cloudRun) succeed(w *world) error {
	return s.Ops.Update(func(tx *state.Tx) error {
		service, err := getService(tx, w.name)
		if err != nil || service == nil || service.GetEtag() != w.service.GetEtag() {
			return err // changed meanwhile: the next pass is about that
		}
		if err := s.markReady(tx, w, service); err != nil {
			return err
		}
		service.Reconciling = false
		service.ObservedGeneration = service.GetGeneration()
		service.TrafficStatuses = nil
		for _, t := range service.GetTraffic() {
			service.TrafficStatuses = append(service.TrafficStatuses, &runpb.TrafficTargetStatus{
				Type: t.GetType(), Revision: t.GetRevision(), Percent: t.GetPercent(), Tag: t.GetTag(),
			})
		}
		service.TerminalCondition = condition("Ready", runpb.Condition_CONDITION_SUCCEEDED, "")
		configurations := condition("ConfigurationsReady", runpb.Condition_CONDITION_SUCCEEDED, "")
		if service.GetLatestReadyRevision() != service.GetLatestCreatedRevision() {
			configurations = failure("ConfigurationsReady", fmt.Sprintf("Revision '%s' is not ready; no traffic is meant for it.", last(service.GetLatestCreatedRevision())))
		}
		service.Conditions = []*runpb.Condition{condition("RoutesReady", runpb.Condition_CONDITION_SUCCEEDED, ""), configurations}
		if err := tx.PutMessage(kindService, w.name, service); err != nil {
			return err
		}
		return s.endTasks(tx, w, nil, s.present(tx, service))
	})
}

// markReady writes down which revisions have proven themselves in this pass.
func (s *cloudRun) markReady(tx *state.Tx, w *world, service *runpb.Service) error {
	proven := addressed(wantedTargets(w.service))
	created := last(service.GetLatestCreatedRevision())
	if r := w.revisions[created]; r.GetReconciling() {
		proven = append(proven, created)
	}
	for _, id := range proven {
		name := w.name + "/revisions/" + id
		r, err := getRevision(tx, name)
		if err != nil {
			return err
		}
		if id == created {
			service.LatestReadyRevision = name
		}
		if isReady(r) {
			continue
		}
		r.Reconciling, r.ObservedGeneration, r.UpdateTime = false, r.GetGeneration(), timestamppb.Now()
		r.Conditions = []*runpb.Condition{
			condition("Ready", runpb.Condition_CONDITION_SUCCEEDED, ""),
			condition("ContainerHealthy", runpb.Condition_CONDITION_SUCCEEDED, ""),
		}
		if err := tx.PutMessage(kindRevision, name, r); err != nil {
			return err
		}
	}
	return nil
}

func isReady(r *runpb.Revision) bool {
	for _, c := range r.GetConditions() {
		if c.GetType() == "Ready" {
			return c.GetState() == runpb.Condition_CONDITION_SUCCEEDED
		}
	}
	return false
}

// giveUp writes down that the service could not become what was wanted, ends the
// operations with the reason, and leaves what serves as it is.
func (s *cloudRun) giveUp(w *world, why error) error {
	err := s.Ops.Update(func(tx *state.Tx) error {
		service, err := getService(tx, w.name)
		if err != nil || service == nil || service.GetEtag() != w.service.GetEtag() {
			return err
		}
		bad := new(failedRevision)
		if errors.As(why, &bad) {
			if err := markFailed(tx, w.name+"/revisions/"+bad.revision, why); err != nil {
				return err
			}
		}
		service.Reconciling = false
		service.TerminalCondition = failure("Ready", why.Error())
		reason := runpb.Condition_REVISION_FAILED
		if errors.Is(why, errSecret) {
			reason = runpb.Condition_SECRETS_ACCESS_CHECK_FAILED
		}
		service.TerminalCondition.Reasons = &runpb.Condition_Reason{Reason: reason}
		service.Conditions = []*runpb.Condition{
			failure("RoutesReady", why.Error()),
			failure("ConfigurationsReady", why.Error()),
		}
		if err := tx.PutMessage(kindService, w.name, service); err != nil {
			return err
		}
		code := codes.FailedPrecondition
		if errors.Is(why, fleet.ErrFull) {
			code = codes.ResourceExhausted
		}
		return s.endTasks(tx, w, status.Error(code, why.Error()), s.present(tx, service))
	})
	if err != nil {
		return err
	}
	s.retireOthers(w, addressed(statusTargets(w.service)))
	return nil
}

func markFailed(tx *state.Tx, name string, why error) error {
	r, err := getRevision(tx, name)
	if err != nil || isReady(r) {
		return err // it has been ready before: it is this start that failed
	}
	r.Reconciling, r.UpdateTime = false, timestamppb.Now()
	ready := failure("Ready", why.Error())
	ready.Reasons = &runpb.Condition_RevisionReason_{RevisionReason: runpb.Condition_HEALTH_CHECK_CONTAINER_ERROR}
	r.Conditions = []*runpb.Condition{ready, failure("ContainerHealthy", why.Error())}
	return tx.PutMessage(kindRevision, name, r)
}

// endTasks ends every operation that waited for this pass: with why, or well with
// what is shown. One whose revision was overtaken before it got ready did not
// succeed; one that deleted an earlier service of this name did.
func (s *cloudRun) endTasks(tx *state.Tx, w *world, why error, shown *runpb.Service) error {
	for _, t := range w.tasks {
		var waits wait
		if err := json.Unmarshal(t.Data, &waits); err != nil {
			return fmt.Errorf("read what %s waits for: %w", t.Name, err)
		}
		end, response := why, shown
		if waits.Deletion {
			end, response = nil, w.gone
		}
		if end == nil && waits.Revision != "" {
			r, err := getRevision(tx, waits.Revision)
			if err != nil && status.Code(err) != codes.NotFound {
				return err
			}
			if !isReady(r) {
				end = status.Errorf(codes.Aborted, "Revision '%s' was superseded by a later change before it was ready.", last(waits.Revision))
			}
		}
		var err error
		if end != nil {
			err = s.Ops.Fail(tx, t.Name, metadata(shown), end)
		} else {
			err = s.Ops.Succeed(tx, t.Name, response, response)
		}
		if err != nil {
			return err
		}
	}
	return tx.Delete(kindGone, w.name)
}

// metadata keeps a nil service from becoming a message that is not nil.
func metadata(s *runpb.Service) proto.Message {
	if s == nil {
		return nil
	}
	return s
}

// remove lets go of all that a deleted service had and ends its operations.
func (s *cloudRun) remove(w *world) error {
	s.Front.Set(w.name)
	if w.gone != nil {
		for _, key := range s.pool.Keys() {
			if strings.HasPrefix(key, goneKey(w.gone)+"/") {
				s.pool.Retire(key, w.gone.GetTemplate().GetTimeout().AsDuration())
			}
		}
	}
	return s.Ops.Update(func(tx *state.Tx) error {
		if tx.Get(kindService, w.name) != nil {
			return nil // made anew meanwhile: the next pass is about that
		}
		return s.endTasks(tx, w, status.Errorf(codes.Aborted, "Service '%s' was deleted meanwhile.", last(w.name)), nil)
	})
}

// goneKey is the route key that a deleted service had; the claim itself is gone.
func goneKey(s *runpb.Service) string {
	_, key, _ := strings.Cut(strings.TrimPrefix(s.GetUri(), "http://"), "/")
	return key
}
