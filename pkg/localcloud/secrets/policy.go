package secrets

import (
	"bytes"
	"context"
	"strings"

	"cloud.google.com/go/iam/apiv1/iampb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// noPolicy is the etag of a policy that nobody set.
var noPolicy = []byte{0x00, 0x20, 0x01}

// policy returns the policy of a secret, an empty one if none was set.
func (tx *txn) policy(name secretName) (*iampb.Policy, error) {
	if _, err := tx.secret(name); err != nil {
		return nil, err
	}
	policy := &iampb.Policy{}
	found, err := tx.GetMessage(policyKind, name.String(), policy)
	if err == nil && !found {
		policy.Etag = noPolicy
	}
	return policy, err
}

// GetIamPolicy answers the policy that was set.
func (s *Server) GetIamPolicy(_ context.Context, req *iampb.GetIamPolicyRequest) (*iampb.Policy, error) {
	name, err := s.parseSecret(req.GetResource())
	if err != nil {
		return nil, err
	}
	var policy *iampb.Policy
	err = s.view(func(tx *txn) (err error) {
		policy, err = tx.policy(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return policy, nil
}

// SetIamPolicy stores a policy. Nothing here asks it: whoever reaches a local
// cloud owns it.
func (s *Server) SetIamPolicy(_ context.Context, req *iampb.SetIamPolicyRequest) (*iampb.Policy, error) {
	name, err := s.parseSecret(req.GetResource())
	if err != nil {
		return nil, err
	}
	if err := checkPolicy(req); err != nil {
		return nil, err
	}
	policy := proto.CloneOf(req.GetPolicy())
	err = s.update(func(tx *txn) error {
		current, err := tx.policy(name)
		if err != nil {
			return err
		}
		if len(policy.GetEtag()) > 0 && !bytes.Equal(policy.GetEtag(), current.GetEtag()) {
			return status.Error(codes.Aborted, "There were concurrent policy changes. Read the policy and try again.")
		}
		etag, err := tx.newEtag()
		if err != nil {
			return err
		}
		policy.Etag = []byte(etag)
		return tx.PutMessage(policyKind, name.String(), policy)
	})
	if err != nil {
		return nil, err
	}
	return policy, nil
}

func checkPolicy(req *iampb.SetIamPolicyRequest) error {
	if req.GetPolicy() == nil {
		return invalid("The policy is missing.")
	}
	if len(req.GetPolicy().GetAuditConfigs()) > 0 {
		return unimplemented("audit configs of a policy")
	}
	for _, path := range req.GetUpdateMask().GetPaths() {
		if path != "bindings" && path != "etag" && path != "version" {
			return unimplemented("update_mask path " + path + " of a policy")
		}
	}
	for _, b := range req.GetPolicy().GetBindings() {
		if !strings.HasPrefix(b.GetRole(), "roles/") && !strings.Contains(b.GetRole(), "/roles/") {
			return invalid("Invalid role [%s].", b.GetRole())
		}
		if b.GetCondition() != nil && req.GetPolicy().GetVersion() != 3 {
			return invalid("A policy with conditions has version 3.")
		}
	}
	return nil
}

// TestIamPermissions grants everything on a secret that exists.
func (s *Server) TestIamPermissions(_ context.Context, req *iampb.TestIamPermissionsRequest) (*iampb.TestIamPermissionsResponse, error) {
	name, err := s.parseSecret(req.GetResource())
	if err != nil {
		return nil, err
	}
	for _, p := range req.GetPermissions() {
		if !strings.HasPrefix(p, "secretmanager.") {
			return nil, invalid("Invalid permission [%s].", p)
		}
	}
	res := &iampb.TestIamPermissionsResponse{}
	err = s.view(func(tx *txn) error {
		_, err := tx.secret(name)
		switch {
		case status.Code(err) == codes.NotFound:
			return nil
		case err == nil:
			res.Permissions = req.GetPermissions()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}
