package run

import (
	"context"
	"strings"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tftctl/tftctl/pkg/localcloud/ops"
	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// GetRevision returns a revision.
func (s revisions) GetRevision(_ context.Context, req *runpb.GetRevisionRequest) (*runpb.Revision, error) {
	if err := checkName(revisionName, "name", req.GetName(), "projects/P/locations/L/services/S/revisions/R"); err != nil {
		return nil, err
	}
	var found *runpb.Revision
	err := s.Store.View(func(tx *state.Tx) (err error) {
		found, err = getRevision(tx, req.GetName())
		return err
	})
	return found, err
}

// ListRevisions returns the revisions of a service, or with services/- those of
// all of a region, the newest first.
func (s revisions) ListRevisions(_ context.Context, req *runpb.ListRevisionsRequest) (*runpb.ListRevisionsResponse, error) {
	if err := checkName(anyService, "parent", req.GetParent(), "projects/P/locations/L/services/S"); err != nil {
		return nil, err
	}
	all, ofRegion := strings.CutSuffix(req.GetParent(), "/services/-")
	prefix := req.GetParent() + "/revisions/"
	if ofRegion {
		prefix = all + "/services/"
	}
	var found []*runpb.Revision
	err := s.Store.View(func(tx *state.Tx) error {
		return tx.Scan(kindRevision, prefix, func(_ string, v []byte) error {
			var r runpb.Revision
			if err := proto.Unmarshal(v, &r); err != nil {
				return err
			}
			found = append(found, &r)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	newestFirst(found)
	page, next, err := ops.Page(found, (*runpb.Revision).GetName, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	return &runpb.ListRevisionsResponse{Revisions: page, NextPageToken: next}, nil
}

// DeleteRevision removes a revision that nobody can reach.
func (s revisions) DeleteRevision(ctx context.Context, req *runpb.DeleteRevisionRequest) (*longrunningpb.Operation, error) {
	name := req.GetName()
	if err := checkName(revisionName, "name", name, "projects/P/locations/L/services/S/revisions/R"); err != nil {
		return nil, err
	}
	service := parent(name)
	opName := ops.RunName(parent(service))
	var gone *runpb.Revision
	remove := func(tx *state.Tx) (err error) {
		if gone, err = getRevision(tx, name); err != nil {
			return err
		}
		if err := checkEtag(req.GetEtag(), gone.GetEtag(), name); err != nil {
			return err
		}
		owner, err := getService(tx, service)
		if err != nil {
			return err
		}
		if err := checkUnused(owner, last(name)); err != nil {
			return err
		}
		gone.DeleteTime = timestamppb.Now()
		if req.GetValidateOnly() {
			return nil
		}
		if err := tx.Delete(kindRevision, name); err != nil {
			return err
		}
		if err := s.Ops.Begin(tx, opName, name, gone, nil); err != nil {
			return err
		}
		return s.Ops.Succeed(tx, opName, nil, gone)
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
	return s.Ops.Answer(ctx, opName)
}

// checkUnused says why a revision cannot be deleted: a request may reach it, now
// or as soon as the service settles, or it is the one a template change made last.
func checkUnused(owner *runpb.Service, revision string) error {
	refuse := func(why string) error {
		return status.Errorf(codes.FailedPrecondition, "Revision '%s' cannot be deleted: %s.", revision, why)
	}
	if last(owner.GetLatestCreatedRevision()) == revision || last(owner.GetLatestReadyRevision()) == revision {
		return refuse("it is the latest revision of its service")
	}
	for _, t := range owner.GetTraffic() {
		if t.GetRevision() == revision {
			return refuse("its service's traffic names it")
		}
	}
	for _, t := range owner.GetTrafficStatuses() {
		if t.GetRevision() == revision {
			return refuse("it still receives traffic")
		}
	}
	return nil
}

func getRevision(tx *state.Tx, name string) (*runpb.Revision, error) {
	var r runpb.Revision
	ok, err := tx.GetMessage(kindRevision, name, &r)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, missing("Revision", name)
	}
	return &r, nil
}
