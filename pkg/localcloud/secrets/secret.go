package secrets

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"

	pb "cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// CreateSecret makes a secret without a version.
func (s *Server) CreateSecret(_ context.Context, req *pb.CreateSecretRequest) (*pb.Secret, error) {
	parent, err := s.parseParent(req.GetParent())
	if err != nil {
		return nil, err
	}
	if err := checkNewSecret(req.GetSecretId(), parent, req.GetSecret()); err != nil {
		return nil, err
	}
	name := secretName{parent, req.GetSecretId()}
	secret := proto.CloneOf(req.GetSecret())
	err = s.update(func(tx *txn) error {
		_, err := tx.secret(name)
		switch {
		case err == nil:
			return status.Errorf(codes.AlreadyExists, "Secret [%s] already exists.", name)
		case status.Code(err) != codes.NotFound:
			return err
		}
		secret.Name, secret.CreateTime, secret.PolicyMember = name.String(), timestamppb.New(tx.now), nil
		secret.Tags = nil // input only
		tx.resolveTTL(secret)
		if err := checkSecret(secret, tx.now); err != nil {
			return err
		}
		if len(secret.VersionAliases) > 0 {
			return status.Errorf(codes.FailedPrecondition, "Secret [%s] has no versions that an alias could name.", name)
		}
		return tx.putSecret(secret)
	})
	if err != nil {
		return nil, err
	}
	return secret, nil
}

// resolveTTL turns a time to live, which is input only, into the time of the end.
func (tx *txn) resolveTTL(secret *pb.Secret) {
	if ttl := secret.GetTtl(); ttl != nil {
		secret.Expiration = &pb.Secret_ExpireTime{ExpireTime: timestamppb.New(tx.now.Add(ttl.AsDuration()))}
	}
}

// GetSecret answers a secret's settings.
func (s *Server) GetSecret(_ context.Context, req *pb.GetSecretRequest) (*pb.Secret, error) {
	name, err := s.parseSecret(req.GetName())
	if err != nil {
		return nil, err
	}
	var secret *pb.Secret
	err = s.view(func(tx *txn) (err error) {
		secret, err = tx.secret(name)
		return err
	})
	return secret, err
}

// ListSecrets answers the secrets of a project, or of one of its locations,
// newest first.
func (s *Server) ListSecrets(_ context.Context, req *pb.ListSecretsRequest) (*pb.ListSecretsResponse, error) {
	parent, err := s.parseParent(req.GetParent())
	if err != nil {
		return nil, err
	}
	wanted, err := nameFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	var all []*pb.Secret
	err = s.view(func(tx *txn) error {
		return tx.Scan(secretKind, parent.String()+"/secrets/", func(_ string, v []byte) error {
			secret := &pb.Secret{}
			if err := proto.Unmarshal(v, secret); err != nil {
				return err
			}
			if wanted(secret) && !isPast(secret.GetExpireTime(), tx.now) {
				all = append(all, secret)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	part, next, err := page(all, byAge[*pb.Secret], req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	return &pb.ListSecretsResponse{Secrets: part, NextPageToken: next, TotalSize: int32(len(all))}, nil
}

// resource is a secret, or a version of one.
type resource interface {
	GetName() string
	GetCreateTime() *timestamppb.Timestamp
}

// byAge sorts the newest first.
func byAge[R resource](r R) string {
	const end = 1 << 62
	return fmt.Sprintf("%020d %s", end-r.GetCreateTime().AsTime().UnixNano(), r.GetName())
}

// page sorts all by key and cuts out the part that was asked for. A token is the
// key of the last one that was answered, so that a page neither repeats nor
// loses anything when others come and go.
func page[R any](all []R, key func(R) string, size int32, token string) (part []R, next string, err error) {
	limit, err := pageSize(size)
	if err != nil {
		return nil, "", err
	}
	after, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil, "", invalid("page_token [%s] is none of ours.", token)
	}
	slices.SortFunc(all, func(a, b R) int { return cmp.Compare(key(a), key(b)) })
	for _, r := range all {
		if token != "" && key(r) <= string(after) {
			continue
		}
		if len(part) == limit {
			return part, base64.RawURLEncoding.EncodeToString([]byte(key(part[limit-1]))), nil
		}
		part = append(part, r)
	}
	return part, "", nil
}

// UpdateSecret changes what the mask names.
func (s *Server) UpdateSecret(_ context.Context, req *pb.UpdateSecretRequest) (*pb.Secret, error) {
	name, err := s.parseSecret(req.GetSecret().GetName())
	if err != nil {
		return nil, err
	}
	if len(req.GetUpdateMask().GetPaths()) == 0 {
		return nil, invalid("update_mask is missing.")
	}
	var secret *pb.Secret
	err = s.update(func(tx *txn) error {
		if secret, err = tx.secret(name); err != nil {
			return err
		}
		if err := checkEtag(req.GetSecret().GetEtag(), secret.GetEtag()); err != nil {
			return err
		}
		for _, path := range req.GetUpdateMask().GetPaths() {
			if err := setField(secret, req.GetSecret(), path); err != nil {
				return err
			}
		}
		tx.resolveTTL(secret)
		if err := checkSecret(secret, tx.now); err != nil {
			return err
		}
		for alias, number := range secret.VersionAliases {
			if tx.Get(versionKind, versionKey(name, number)) == nil {
				return status.Errorf(codes.FailedPrecondition, "Version alias [%s] names version %d, which does not exist.", alias, number)
			}
		}
		return tx.putSecret(secret)
	})
	if err != nil {
		return nil, err
	}
	return secret, nil
}

// setField copies one field of a mask.
func setField(to, from *pb.Secret, path string) error {
	from = proto.CloneOf(from)
	switch path {
	case "labels":
		to.Labels = from.Labels
	case "annotations":
		to.Annotations = from.Annotations
	case "topics":
		to.Topics = from.Topics
	case "version_aliases":
		to.VersionAliases = from.VersionAliases
	case "version_destroy_ttl":
		to.VersionDestroyTtl = from.VersionDestroyTtl
	case "expiration", "expire_time", "ttl":
		to.Expiration = from.Expiration
	case "rotation":
		to.Rotation = from.Rotation
	case "rotation.next_rotation_time", "rotation.rotation_period":
		if to.Rotation == nil {
			to.Rotation = &pb.Rotation{}
		}
		if path == "rotation.next_rotation_time" {
			to.Rotation.NextRotationTime = from.GetRotation().GetNextRotationTime()
		} else {
			to.Rotation.RotationPeriod = from.GetRotation().GetRotationPeriod()
		}
	case "name", "replication", "create_time", "secret_type", "tags", "policy_member", "etag":
		return invalid("Field [%s] cannot be changed.", path)
	case "customer_managed_encryption":
		return unimplemented("customer-managed encryption")
	default:
		return invalid("A secret has no field [%s].", path)
	}
	return nil
}

// DeleteSecret removes a secret with all its versions.
func (s *Server) DeleteSecret(_ context.Context, req *pb.DeleteSecretRequest) (*emptypb.Empty, error) {
	name, err := s.parseSecret(req.GetName())
	if err != nil {
		return nil, err
	}
	err = s.update(func(tx *txn) error {
		secret, err := tx.secret(name)
		if err != nil {
			return err
		}
		if err := checkEtag(req.GetEtag(), secret.GetEtag()); err != nil {
			return err
		}
		return tx.purge(name.String())
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
