package secrets

import (
	"context"
	"fmt"
	"strconv"
	"time"

	pb "cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// versionKey sorts the versions of a secret by their numbers.
func versionKey(name secretName, number int64) string {
	return fmt.Sprintf("%s/versions/%010d", name, number)
}

// versionName is a version's name as answers say it.
func versionName(name secretName, number int64) string {
	return fmt.Sprintf("%s/versions/%d", name, number)
}

// AddSecretVersion adds a payload, verified if its checksum came with it.
func (s *Server) AddSecretVersion(_ context.Context, req *pb.AddSecretVersionRequest) (*pb.SecretVersion, error) {
	name, err := s.parseSecret(req.GetParent())
	if err != nil {
		return nil, err
	}
	if err := checkPayload(req.GetPayload()); err != nil {
		return nil, err
	}
	var version *pb.SecretVersion
	err = s.update(func(tx *txn) error {
		secret, err := tx.secret(name)
		if err != nil {
			return err
		}
		last, err := tx.latest(name)
		if err != nil {
			return err
		}
		version = &pb.SecretVersion{
			Name: versionName(name, last+1), CreateTime: timestamppb.New(tx.now), State: pb.SecretVersion_ENABLED,
			ReplicationStatus: replicationStatus(secret), ClientSpecifiedPayloadChecksum: req.GetPayload().DataCrc32C != nil,
		}
		if err := tx.Put(payloadKind, versionKey(name, last+1), req.GetPayload().GetData()); err != nil {
			return err
		}
		return tx.putVersion(name, last+1, version)
	})
	if err != nil {
		return nil, err
	}
	return version, nil
}

// latest is the number of the version created last, whatever its state; 0 is none.
func (tx *txn) latest(name secretName) (int64, error) {
	var last int64
	prefix := name.String() + "/versions/"
	err := tx.Scan(versionKind, prefix, func(key string, _ []byte) (err error) {
		last, err = strconv.ParseInt(key[len(prefix):], 10, 64)
		return err
	})
	return last, err
}

func (tx *txn) putVersion(name secretName, number int64, version *pb.SecretVersion) error {
	var err error
	if version.Etag, err = tx.newEtag(); err != nil {
		return err
	}
	return tx.PutMessage(versionKind, versionKey(name, number), version)
}

// number resolves what stands behind versions/.
func (tx *txn) number(name secretName, version string) (int64, error) {
	secret, err := tx.secret(name)
	if err != nil {
		return 0, err
	}
	if numberForm.MatchString(version) {
		return strconv.ParseInt(version, 10, 64)
	}
	if version != "latest" {
		number, ok := secret.GetVersionAliases()[version]
		if !ok {
			return 0, status.Errorf(codes.NotFound, "Secret [%s] has no version alias [%s].", name, version)
		}
		return number, nil
	}
	number, err := tx.latest(name)
	if err == nil && number == 0 {
		err = status.Errorf(codes.NotFound, "Secret [%s] not found or has no versions.", name)
	}
	return number, err
}

// version returns a version as it is by now: the time of one that was to be
// destroyed later may have come.
func (tx *txn) version(name secretName, number int64) (*pb.SecretVersion, error) {
	version := &pb.SecretVersion{}
	found, err := tx.GetMessage(versionKind, versionKey(name, number), version)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, status.Errorf(codes.NotFound, "Secret Version [%s] not found.", versionName(name, number))
	}
	destroyIfDue(version, tx.now)
	return version, nil
}

// destroyIfDue says whether the time of version has come, and marks it.
func destroyIfDue(version *pb.SecretVersion, now time.Time) bool {
	if version.State != pb.SecretVersion_DISABLED || !isPast(version.ScheduledDestroyTime, now) {
		return false
	}
	version.State = pb.SecretVersion_DESTROYED
	version.DestroyTime, version.ScheduledDestroyTime = version.ScheduledDestroyTime, nil
	return true
}

// GetSecretVersion answers what is known of a version, without its payload.
func (s *Server) GetSecretVersion(_ context.Context, req *pb.GetSecretVersionRequest) (*pb.SecretVersion, error) {
	name, which, err := s.parseVersion(req.GetName())
	if err != nil {
		return nil, err
	}
	var version *pb.SecretVersion
	err = s.view(func(tx *txn) error {
		number, err := tx.number(name, which)
		if err != nil {
			return err
		}
		version, err = tx.version(name, number)
		return err
	})
	return version, err
}

// AccessSecretVersion answers the payload of a version that is enabled.
func (s *Server) AccessSecretVersion(_ context.Context, req *pb.AccessSecretVersionRequest) (*pb.AccessSecretVersionResponse, error) {
	name, which, err := s.parseVersion(req.GetName())
	if err != nil {
		return nil, err
	}
	res := &pb.AccessSecretVersionResponse{}
	err = s.view(func(tx *txn) error {
		number, err := tx.number(name, which)
		if err != nil {
			return err
		}
		version, err := tx.version(name, number)
		if err != nil {
			return err
		}
		if version.State != pb.SecretVersion_ENABLED {
			return status.Errorf(codes.FailedPrecondition, "Secret Version [%s] is in %s state.", version.Name, version.State)
		}
		data := tx.Get(payloadKind, versionKey(name, number))
		res.Name = version.Name
		res.Payload = &pb.SecretPayload{Data: data, DataCrc32C: proto.Int64(checksum(data))}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// ListSecretVersions answers the versions of a secret, newest first.
func (s *Server) ListSecretVersions(_ context.Context, req *pb.ListSecretVersionsRequest) (*pb.ListSecretVersionsResponse, error) {
	name, err := s.parseSecret(req.GetParent())
	if err != nil {
		return nil, err
	}
	wanted, err := stateFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	type numbered struct {
		key     string
		version *pb.SecretVersion
	}
	var all []numbered
	err = s.view(func(tx *txn) error {
		if _, err := tx.secret(name); err != nil {
			return err
		}
		prefix := name.String() + "/versions/"
		return tx.Scan(versionKind, prefix, func(key string, v []byte) error {
			version := &pb.SecretVersion{}
			if err := proto.Unmarshal(v, version); err != nil {
				return err
			}
			number, err := strconv.ParseInt(key[len(prefix):], 10, 64)
			if err != nil {
				return err
			}
			destroyIfDue(version, tx.now)
			if wanted == 0 || version.State == wanted {
				all = append(all, numbered{fmt.Sprintf("%010d", 9999999999-number), version})
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	part, next, err := page(all, func(n numbered) string { return n.key }, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	res := &pb.ListSecretVersionsResponse{NextPageToken: next, TotalSize: int32(len(all))}
	for _, n := range part {
		res.Versions = append(res.Versions, n.version)
	}
	return res, nil
}

// EnableSecretVersion makes a version accessible, and saves one that was to be
// destroyed later.
func (s *Server) EnableSecretVersion(_ context.Context, req *pb.EnableSecretVersionRequest) (*pb.SecretVersion, error) {
	return s.changeVersion(req.GetName(), req.GetEtag(), func(_ *txn, _ *pb.Secret, version *pb.SecretVersion) {
		version.State, version.ScheduledDestroyTime = pb.SecretVersion_ENABLED, nil
	})
}

// DisableSecretVersion makes a version inaccessible for now.
func (s *Server) DisableSecretVersion(_ context.Context, req *pb.DisableSecretVersionRequest) (*pb.SecretVersion, error) {
	return s.changeVersion(req.GetName(), req.GetEtag(), func(_ *txn, _ *pb.Secret, version *pb.SecretVersion) {
		version.State = pb.SecretVersion_DISABLED
	})
}

// DestroySecretVersion removes a payload for good; with a version_destroy_ttl it
// only sets the time for that.
func (s *Server) DestroySecretVersion(_ context.Context, req *pb.DestroySecretVersionRequest) (*pb.SecretVersion, error) {
	return s.changeVersion(req.GetName(), req.GetEtag(), func(tx *txn, secret *pb.Secret, version *pb.SecretVersion) {
		if ttl := secret.GetVersionDestroyTtl(); ttl != nil {
			version.State = pb.SecretVersion_DISABLED
			version.ScheduledDestroyTime = timestamppb.New(tx.now.Add(ttl.AsDuration()))
			return
		}
		version.State, version.DestroyTime = pb.SecretVersion_DESTROYED, timestamppb.New(tx.now)
	})
}

// changeVersion changes a version that is named by its number and is not
// destroyed. The payload of one that becomes destroyed goes with it.
func (s *Server) changeVersion(text, etag string, change func(*txn, *pb.Secret, *pb.SecretVersion)) (*pb.SecretVersion, error) {
	name, which, err := s.parseVersion(text)
	if err != nil {
		return nil, err
	}
	if !numberForm.MatchString(which) {
		return nil, invalid("Version [%s] must be given by its number here.", which)
	}
	var version *pb.SecretVersion
	err = s.update(func(tx *txn) error {
		secret, err := tx.secret(name)
		if err != nil {
			return err
		}
		number, err := tx.number(name, which)
		if err != nil {
			return err
		}
		if version, err = tx.version(name, number); err != nil {
			return err
		}
		if version.State == pb.SecretVersion_DESTROYED {
			return status.Errorf(codes.FailedPrecondition, "Secret Version [%s] is in DESTROYED state.", version.Name)
		}
		if err := checkEtag(etag, version.GetEtag()); err != nil {
			return err
		}
		change(tx, secret, version)
		if version.State == pb.SecretVersion_DESTROYED {
			if err := tx.Delete(payloadKind, versionKey(name, number)); err != nil {
				return err
			}
		}
		return tx.putVersion(name, number, version)
	})
	if err != nil {
		return nil, err
	}
	return version, nil
}
