package run

import (
	"context"
	"errors"
	"slices"
	"strings"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tftctl/tftctl/pkg/localcloud/front"
	"github.com/tftctl/tftctl/pkg/localcloud/ops"
	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// caller is who every change is put down to: the local cloud asks nobody who
// they are.
const caller = "local@localcloud.invalid"

// CreateService makes a service with its first revision.
func (s services) CreateService(ctx context.Context, req *runpb.CreateServiceRequest) (*longrunningpb.Operation, error) {
	if err := checkName(locationName, "parent", req.GetParent(), "projects/P/locations/L"); err != nil {
		return nil, err
	}
	if err := checkServiceID(req.GetServiceId()); err != nil {
		return nil, err
	}
	if req.GetService() == nil {
		return nil, invalid("service", "is required")
	}
	name := req.GetParent() + "/services/" + req.GetServiceId()
	return s.put(ctx, name, req.GetValidateOnly(), func(_ *state.Tx, current *runpb.Service) (*runpb.Service, error) {
		if current != nil {
			return nil, status.Errorf(codes.AlreadyExists, "Resource '%s' already exists.", req.GetServiceId())
		}
		return wantedOf(req.GetService()), nil
	})
}

// UpdateService changes a service, and makes a revision if its template changed.
func (s services) UpdateService(ctx context.Context, req *runpb.UpdateServiceRequest) (*longrunningpb.Operation, error) {
	name := req.GetService().GetName()
	if err := checkName(serviceName, "service.name", name, "projects/P/locations/L/services/S"); err != nil {
		return nil, err
	}
	return s.put(ctx, name, req.GetValidateOnly(), func(_ *state.Tx, current *runpb.Service) (*runpb.Service, error) {
		if current == nil {
			if !req.GetAllowMissing() {
				return nil, missing("Service", name)
			}
			if err := checkServiceID(last(name)); err != nil {
				return nil, err
			}
			return wantedOf(req.GetService()), nil
		}
		if err := checkEtag(req.GetService().GetEtag(), current.GetEtag(), name); err != nil {
			return nil, err
		}
		return merge(current, req.GetService(), req.GetUpdateMask().GetPaths())
	})
}

// put stores what want makes of the current service, with its operation, and
// waits a moment for the reconciler. With validateOnly it stores nothing.
func (s services) put(ctx context.Context, name string, validateOnly bool, want func(*state.Tx, *runpb.Service) (*runpb.Service, error)) (*longrunningpb.Operation, error) {
	opName := ops.RunName(parent(name))
	var planned *runpb.Service
	change := func(tx *state.Tx) error {
		c, err := s.plan(tx, name, want)
		if err != nil {
			return err
		}
		planned = c.service
		if validateOnly {
			return nil
		}
		return s.store(tx, opName, c)
	}
	if validateOnly {
		if err := s.Store.View(change); err != nil {
			return nil, err
		}
		return ops.Instant(opName, planned, planned)
	}
	if err := s.Ops.Update(change); err != nil {
		return nil, err
	}
	s.reconciler.Kick(name)
	return s.Ops.Answer(ctx, opName)
}

// change is what a call makes of a service.
type change struct {
	service  *runpb.Service
	revision *runpb.Revision // nil if the template is the one there was
	nothing  bool            // the service is as it was
}

// plan decides what becomes of the service of that name; it stores nothing.
func (s services) plan(tx *state.Tx, name string, want func(*state.Tx, *runpb.Service) (*runpb.Service, error)) (*change, error) {
	current, err := getService(tx, name)
	if err != nil {
		return nil, err
	}
	wanted, err := want(tx, current)
	if err != nil {
		return nil, err
	}
	id, project := last(name), strings.Split(name, "/")[1]
	fillDefaults(project, wanted)
	if err := checkService(id, wanted); err != nil {
		return nil, err
	}
	c := &change{service: wanted}
	old := wantedOf(current)
	sameRevision := current != nil && sameTemplate(old.GetTemplate(), wanted.GetTemplate())
	if sameRevision {
		wanted.Template = old.Template // with the name that its revision was given
		c.nothing = proto.Equal(old, wanted)
	}
	s.carry(name, current, wanted, c.nothing)
	if !sameRevision {
		if c.revision, err = newRevision(tx, name, wanted); err != nil {
			return nil, err
		}
		wanted.LatestCreatedRevision = c.revision.GetName()
	}
	known := func(revision string) bool {
		full := name + "/revisions/" + revision
		return c.revision.GetName() == full || tx.Get(kindRevision, full) != nil
	}
	return c, checkTraffic(id, wanted.GetTraffic(), known)
}

// carry fills in what only the server sets, from what the service was before.
func (s services) carry(name string, current, wanted *runpb.Service, unchanged bool) {
	now := timestamppb.Now()
	wanted.Name = name
	if current == nil {
		wanted.Uid, wanted.CreateTime, wanted.Creator = ops.UUID(), now, caller
	} else {
		wanted.Uid, wanted.CreateTime, wanted.Creator = current.Uid, current.CreateTime, current.Creator
		wanted.Generation, wanted.ObservedGeneration = current.Generation, current.ObservedGeneration
		wanted.LatestCreatedRevision, wanted.LatestReadyRevision = current.LatestCreatedRevision, current.LatestReadyRevision
		wanted.TrafficStatuses = current.TrafficStatuses
		wanted.Conditions, wanted.TerminalCondition = current.Conditions, current.TerminalCondition
		wanted.UpdateTime, wanted.LastModifier, wanted.Reconciling = current.UpdateTime, current.LastModifier, current.Reconciling
	}
	if !unchanged {
		wanted.Generation++
		wanted.UpdateTime, wanted.LastModifier, wanted.Reconciling = now, caller, true
		wanted.TerminalCondition = condition("Ready", runpb.Condition_CONDITION_RECONCILING, "")
		wanted.Conditions = []*runpb.Condition{
			condition("RoutesReady", runpb.Condition_CONDITION_RECONCILING, ""),
			condition("ConfigurationsReady", runpb.Condition_CONDITION_RECONCILING, ""),
		}
	}
	wanted.Etag = etag(wanted.Uid, wanted.Generation)
}

// wait is what an operation waits for besides the service.
type wait struct {
	Generation int64  `json:"generation"`
	Revision   string `json:"revision,omitempty"` // made by this change, to become ready
	Deletion   bool   `json:"deletion,omitempty"`
}

// store writes a change and its operation.
func (s services) store(tx *state.Tx, opName string, c *change) error {
	name := c.service.GetName()
	short, long := front.Keys("run", name)
	if err := front.Claim(tx, name, short, long); err != nil {
		return err
	}
	if err := tx.PutMessage(kindService, name, c.service); err != nil {
		return err
	}
	if c.revision != nil {
		if err := tx.PutMessage(kindRevision, c.revision.GetName(), c.revision); err != nil {
			return err
		}
	}
	waits := wait{Generation: c.service.GetGeneration(), Revision: c.revision.GetName()}
	return s.Ops.Begin(tx, opName, name, s.present(tx, c.service), waits)
}

// newRevision is the revision that the service's template makes.
func newRevision(tx *state.Tx, service string, s *runpb.Service) (*runpb.Revision, error) {
	t := s.GetTemplate()
	id := t.GetRevision()
	if id == "" {
		id = generatedRevision(last(service), s.GetGeneration())
	}
	name := service + "/revisions/" + id
	if tx.Get(kindRevision, name) != nil {
		return nil, status.Errorf(codes.AlreadyExists, "Revision named '%s' with different configuration already exists.", id)
	}
	now := timestamppb.Now()
	uid := ops.UUID()
	t = proto.CloneOf(t)
	return &runpb.Revision{
		Name: name, Uid: uid, Generation: 1, Etag: etag(uid, 1), Service: last(service),
		Labels: t.Labels, Annotations: t.Annotations, CreateTime: now, UpdateTime: now, Creator: caller,
		LaunchStage: s.GetLaunchStage(), Scaling: t.Scaling, VpcAccess: t.VpcAccess,
		MaxInstanceRequestConcurrency: t.MaxInstanceRequestConcurrency, Timeout: t.Timeout,
		ServiceAccount: t.ServiceAccount, Containers: t.Containers, Volumes: t.Volumes,
		ExecutionEnvironment: t.ExecutionEnvironment, EncryptionKey: t.EncryptionKey,
		ServiceMesh: t.ServiceMesh, EncryptionKeyRevocationAction: t.EncryptionKeyRevocationAction,
		EncryptionKeyShutdownDuration: t.EncryptionKeyShutdownDuration, SessionAffinity: t.SessionAffinity,
		NodeSelector: t.NodeSelector, GpuZonalRedundancyDisabled: t.GpuZonalRedundancyDisabled,
		Reconciling: true,
		Conditions:  []*runpb.Condition{condition("Ready", runpb.Condition_CONDITION_PENDING, "")},
	}, nil
}

// GetService returns a service.
func (s services) GetService(_ context.Context, req *runpb.GetServiceRequest) (*runpb.Service, error) {
	if err := checkName(serviceName, "name", req.GetName(), "projects/P/locations/L/services/S"); err != nil {
		return nil, err
	}
	var found *runpb.Service
	err := s.Store.View(func(tx *state.Tx) error {
		service, err := getService(tx, req.GetName())
		if err != nil {
			return err
		}
		if service == nil {
			return missing("Service", req.GetName())
		}
		found = s.present(tx, service)
		return nil
	})
	return found, err
}

// ListServices returns the services of a region, the newest first.
func (s services) ListServices(_ context.Context, req *runpb.ListServicesRequest) (*runpb.ListServicesResponse, error) {
	if err := checkName(locationName, "parent", req.GetParent(), "projects/P/locations/L"); err != nil {
		return nil, err
	}
	if strings.HasSuffix(req.GetParent(), "/locations/-") {
		return nil, invalid("parent", "services are listed for one region at a time")
	}
	var found []*runpb.Service
	err := s.Store.View(func(tx *state.Tx) error {
		return tx.Scan(kindService, req.GetParent()+"/services/", func(_ string, v []byte) error {
			var service runpb.Service
			if err := proto.Unmarshal(v, &service); err != nil {
				return err
			}
			found = append(found, s.present(tx, &service))
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	newestFirst(found)
	page, next, err := ops.Page(found, (*runpb.Service).GetName, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	return &runpb.ListServicesResponse{Services: page, NextPageToken: next}, nil
}

func newestFirst[T interface {
	GetCreateTime() *timestamppb.Timestamp
}](all []T) {
	slices.SortStableFunc(all, func(a, b T) int {
		return b.GetCreateTime().AsTime().Compare(a.GetCreateTime().AsTime())
	})
}

// DeleteService removes a service with its revisions.
func (s services) DeleteService(ctx context.Context, req *runpb.DeleteServiceRequest) (*longrunningpb.Operation, error) {
	name := req.GetName()
	if err := checkName(serviceName, "name", name, "projects/P/locations/L/services/S"); err != nil {
		return nil, err
	}
	opName := ops.RunName(parent(name))
	var gone *runpb.Service
	remove := func(tx *state.Tx) error {
		service, err := getService(tx, name)
		if err != nil {
			return err
		}
		if service == nil {
			return missing("Service", name)
		}
		if err := checkEtag(req.GetEtag(), service.GetEtag(), name); err != nil {
			return err
		}
		gone = s.present(tx, service)
		gone.DeleteTime = timestamppb.Now()
		if req.GetValidateOnly() {
			return nil
		}
		if err := s.forget(tx, name); err != nil {
			return err
		}
		if err := tx.PutMessage(kindGone, name, gone); err != nil {
			return err
		}
		return s.Ops.Begin(tx, opName, name, gone, wait{Deletion: true})
	}
	if req.GetValidateOnly() {
		if err := s.Store.View(remove); err != nil {
			return nil, err
		}
		return ops.Instant(opName, gone, gone)
	}
	if err := s.Ops.Update(remove); err != nil {
		return nil, err
	}
	s.reconciler.Kick(name)
	return s.Ops.Answer(ctx, opName)
}

// forget removes all that is stored of a service, but for what its reconciler
// still needs.
func (s *cloudRun) forget(tx *state.Tx, name string) error {
	err := tx.Scan(kindRevision, name+"/revisions/", func(key string, _ []byte) error {
		return tx.Delete(kindRevision, key)
	})
	return errors.Join(err, tx.Delete(kindService, name), tx.Delete(kindPolicy, name), front.Release(tx, name))
}

func getService(tx *state.Tx, name string) (*runpb.Service, error) {
	var s runpb.Service
	ok, err := tx.GetMessage(kindService, name, &s)
	if err != nil || !ok {
		return nil, err
	}
	return &s, nil
}

func missing(what, name string) error {
	return status.Errorf(codes.NotFound, "%s '%s' was not found", what, name)
}

// checkEtag refuses a caller who has seen an older state. An empty one means
// that the caller does not mind.
func checkEtag(given, current, name string) error {
	if given != "" && given != current {
		return status.Errorf(codes.Aborted, "Conflict for resource '%s': version %s was specified but current version is %s.", last(name), given, current)
	}
	return nil
}
