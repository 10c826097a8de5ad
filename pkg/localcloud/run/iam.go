package run

import (
	"context"
	"crypto/sha256"

	"cloud.google.com/go/iam/apiv1/iampb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// GetIamPolicy returns who may call a service. Nobody asks here: it is kept for
// those who set and compare it.
func (s services) GetIamPolicy(_ context.Context, req *iampb.GetIamPolicyRequest) (*iampb.Policy, error) {
	var p *iampb.Policy
	err := s.Store.View(func(tx *state.Tx) (err error) {
		p, err = getPolicy(tx, req.GetResource())
		return err
	})
	return p, err
}

// SetIamPolicy replaces the policy. A caller who sends an etag has the policy
// changed only if it is still the one that etag came from.
func (s services) SetIamPolicy(_ context.Context, req *iampb.SetIamPolicyRequest) (*iampb.Policy, error) {
	if req.GetPolicy() == nil {
		return nil, invalid("policy", "is required")
	}
	p := proto.CloneOf(req.GetPolicy())
	err := s.Store.Update(func(tx *state.Tx) error {
		current, err := getPolicy(tx, req.GetResource())
		if err != nil {
			return err
		}
		if given := p.GetEtag(); len(given) > 0 && string(given) != string(current.GetEtag()) {
			return status.Error(codes.Aborted, "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.")
		}
		p.Etag = nil
		if err := stampPolicy(p); err != nil {
			return err
		}
		return tx.PutMessage(kindPolicy, req.GetResource(), p)
	})
	return p, err
}

// TestIamPermissions says yes to all: every caller owns the local cloud.
func (s services) TestIamPermissions(_ context.Context, req *iampb.TestIamPermissionsRequest) (*iampb.TestIamPermissionsResponse, error) {
	err := s.Store.View(func(tx *state.Tx) error {
		_, err := getPolicy(tx, req.GetResource())
		return err
	})
	if err != nil {
		return nil, err
	}
	return &iampb.TestIamPermissionsResponse{Permissions: req.GetPermissions()}, nil
}

// getPolicy returns the stored policy, or an empty one for a service that has none.
func getPolicy(tx *state.Tx, service string) (*iampb.Policy, error) {
	if err := checkName(serviceName, "resource", service, "projects/P/locations/L/services/S"); err != nil {
		return nil, err
	}
	if tx.Get(kindService, service) == nil {
		return nil, missing("Service", service)
	}
	var p iampb.Policy
	ok, err := tx.GetMessage(kindPolicy, service, &p)
	if err != nil || ok {
		return &p, err
	}
	return &p, stampPolicy(&p)
}

// stampPolicy gives a policy the etag that follows from its content.
func stampPolicy(p *iampb.Policy) error {
	v, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(v)
	p.Etag = sum[:8]
	return nil
}
