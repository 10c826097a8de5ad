package vertex

import (
	"context"
	"slices"

	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tftctl/tftctl/pkg/localcloud/front"
	"github.com/tftctl/tftctl/pkg/localcloud/ops"
	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

const endpointExample = "projects/P/locations/L/endpoints/E"

// CreateEndpoint makes an endpoint, to which nothing is deployed yet.
func (s endpointService) CreateEndpoint(ctx context.Context, req *aiplatformpb.CreateEndpointRequest) (*longrunningpb.Operation, error) {
	if err := checkName(locationName, "parent", req.GetParent(), "projects/P/locations/L"); err != nil {
		return nil, err
	}
	if err := checkEndpoint(req.GetEndpointId(), req.GetEndpoint()); err != nil {
		return nil, err
	}
	id := req.GetEndpointId()
	if id == "" {
		id = ops.Digits(19)
	}
	name := req.GetParent() + "/endpoints/" + id
	metadata := &aiplatformpb.CreateEndpointOperationMetadata{GenericMetadata: generic()}
	op, err := s.instantly(ctx, name, metadata, func(tx *state.Tx) (proto.Message, error) {
		if tx.Get(kindEndpoint, name) != nil {
			return nil, status.Errorf(codes.AlreadyExists, "The endpoint %q already exists.", name)
		}
		short, long := front.Keys("vertex", name)
		if err := front.Claim(tx, name, short, long); err != nil {
			return nil, err
		}
		e := proto.CloneOf(req.GetEndpoint())
		now := timestamppb.Now()
		e.Name, e.CreateTime, e.UpdateTime = name, now, now
		return e, putEndpoint(tx, e)
	})
	if err != nil {
		return nil, err
	}
	_, err = s.sync(name)
	return op, err
}

// GetEndpoint returns an endpoint.
func (s endpointService) GetEndpoint(_ context.Context, req *aiplatformpb.GetEndpointRequest) (*aiplatformpb.Endpoint, error) {
	if err := checkName(endpointName, "name", req.GetName(), endpointExample); err != nil {
		return nil, err
	}
	var found *aiplatformpb.Endpoint
	err := s.Store.View(func(tx *state.Tx) (err error) {
		found, err = needEndpoint(tx, req.GetName())
		return err
	})
	return found, err
}

// ListEndpoints returns the endpoints of a location, the newest first.
func (s endpointService) ListEndpoints(_ context.Context, req *aiplatformpb.ListEndpointsRequest) (*aiplatformpb.ListEndpointsResponse, error) {
	if err := checkName(locationName, "parent", req.GetParent(), "projects/P/locations/L"); err != nil {
		return nil, err
	}
	wanted, err := parseFilter(req.GetFilter(), "endpoint", "endpoints")
	if err != nil {
		return nil, err
	}
	if req.GetOrderBy() != "" {
		return nil, notServed("order_by")
	}
	var found []*aiplatformpb.Endpoint
	err = s.Store.View(func(tx *state.Tx) error {
		return tx.Scan(kindEndpoint, req.GetParent()+"/endpoints/", func(_ string, v []byte) error {
			var e aiplatformpb.Endpoint
			if err := proto.Unmarshal(v, &e); err != nil {
				return err
			}
			if wanted(e.GetName(), e.GetDisplayName(), e.GetLabels()) {
				found = append(found, &e)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(found, func(a, b *aiplatformpb.Endpoint) int {
		return b.GetCreateTime().AsTime().Compare(a.GetCreateTime().AsTime())
	})
	page, next, err := ops.Page(found, (*aiplatformpb.Endpoint).GetName, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	return &aiplatformpb.ListEndpointsResponse{Endpoints: page, NextPageToken: next}, nil
}

// UpdateEndpoint changes an endpoint. When it returns, the traffic is split anew.
func (s endpointService) UpdateEndpoint(_ context.Context, req *aiplatformpb.UpdateEndpointRequest) (*aiplatformpb.Endpoint, error) {
	name := req.GetEndpoint().GetName()
	if err := checkName(endpointName, "endpoint.name", name, endpointExample); err != nil {
		return nil, err
	}
	if len(req.GetUpdateMask().GetPaths()) == 0 {
		return nil, invalid("update_mask", "is required")
	}
	var updated *aiplatformpb.Endpoint
	err := s.Store.Update(func(tx *state.Tx) (err error) {
		if updated, err = needEndpoint(tx, name); err != nil {
			return err
		}
		if err := checkEtag(req.GetEndpoint().GetEtag(), updated.GetEtag(), name); err != nil {
			return err
		}
		for _, path := range req.GetUpdateMask().GetPaths() {
			if err := setEndpointField(updated, req.GetEndpoint(), path); err != nil {
				return err
			}
		}
		updated.UpdateTime = timestamppb.Now()
		return putEndpoint(tx, updated)
	})
	if err != nil {
		return nil, err
	}
	if _, err := s.sync(name); err != nil {
		return nil, err
	}
	return updated, nil
}

func setEndpointField(to, from *aiplatformpb.Endpoint, path string) error {
	switch path {
	case "display_name":
		if err := checkDisplayName("endpoint.display_name", from.GetDisplayName()); err != nil {
			return err
		}
		to.DisplayName = from.GetDisplayName()
	case "description":
		to.Description = from.GetDescription()
	case "labels":
		if err := checkLabels("endpoint.labels", from.GetLabels()); err != nil {
			return err
		}
		to.Labels = from.GetLabels()
	case "traffic_split":
		if err := checkSplit(from.GetTrafficSplit(), deployedIDs(to)); err != nil {
			return err
		}
		to.TrafficSplit = from.GetTrafficSplit()
	default:
		return invalid("update_mask", "%q cannot be updated", path)
	}
	return nil
}

// DeleteEndpoint removes an endpoint to which nothing is deployed.
func (s endpointService) DeleteEndpoint(ctx context.Context, req *aiplatformpb.DeleteEndpointRequest) (*longrunningpb.Operation, error) {
	name := req.GetName()
	if err := checkName(endpointName, "name", name, endpointExample); err != nil {
		return nil, err
	}
	op, err := s.instantly(ctx, name, deleteMetadata(), func(tx *state.Tx) (proto.Message, error) {
		e, err := needEndpoint(tx, name)
		if err != nil {
			return nil, err
		}
		if len(e.GetDeployedModels()) > 0 {
			return nil, status.Errorf(codes.FailedPrecondition, "The endpoint %q has deployed models; undeploy them first.", name)
		}
		if err := checkNothingDeploying(tx, name); err != nil {
			return nil, err
		}
		if err := front.Release(tx, name); err != nil {
			return nil, err
		}
		return &emptypb.Empty{}, tx.Delete(kindEndpoint, name)
	})
	if err != nil {
		return nil, err
	}
	_, err = s.sync(name)
	return op, err
}

func checkNothingDeploying(tx *state.Tx, endpoint string) error {
	return tx.Scan(kindDeploy, endpoint+"/", func(operation string, _ []byte) error {
		return status.Errorf(codes.FailedPrecondition, "A model is being deployed to the endpoint %q by %s.", endpoint, operation)
	})
}

func deployedIDs(e *aiplatformpb.Endpoint) []string {
	var ids []string
	for _, d := range e.GetDeployedModels() {
		ids = append(ids, d.GetId())
	}
	return ids
}

// getEndpoint returns the stored endpoint, nil if there is none.
func getEndpoint(tx *state.Tx, name string) (*aiplatformpb.Endpoint, error) {
	var e aiplatformpb.Endpoint
	ok, err := tx.GetMessage(kindEndpoint, name, &e)
	if err != nil || !ok {
		return nil, err
	}
	return &e, nil
}

func needEndpoint(tx *state.Tx, name string) (*aiplatformpb.Endpoint, error) {
	e, err := getEndpoint(tx, name)
	if err == nil && e == nil {
		err = missing("Endpoint", name)
	}
	return e, err
}

// putEndpoint stores an endpoint with a new etag.
func putEndpoint(tx *state.Tx, e *aiplatformpb.Endpoint) error {
	e.Etag = ""
	etag, err := stamp(e)
	if err != nil {
		return err
	}
	e.Etag = etag
	return tx.PutMessage(kindEndpoint, e.GetName(), e)
}
