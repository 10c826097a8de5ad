// Package secrets plays Secret Manager: secrets, their versions and policies.
//
// Payloads lie unencrypted in the state file, which only its owner can read.
// They are never logged, and no error message holds one.
package secrets

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	pb "cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// Project is a project by both of its names. Requests may say either; answers
// say the number, as Google's do.
type Project struct {
	ID     string
	Number uint64
}

// Server answers Secret Manager's v1 API, for global and regional secrets. What
// it does not implement answers Unimplemented and names itself.
type Server struct {
	pb.UnimplementedSecretManagerServiceServer

	store   *state.Store
	numbers map[string]string // a project's number by its id
	now     func() time.Time
}

var _ pb.SecretManagerServiceServer = (*Server)(nil)

// New returns a Server over store. A project that is not among projects keeps
// the name that a request gives it.
func New(store *state.Store, projects ...Project) *Server {
	s := &Server{store: store, numbers: map[string]string{}, now: time.Now}
	for _, p := range projects {
		s.numbers[p.ID] = strconv.FormatUint(p.Number, 10)
	}
	return s
}

// The kinds of things that are stored.
const (
	secretKind  = "secrets/secret"  // by name
	versionKind = "secrets/version" // by name, the number in ten digits
	payloadKind = "secrets/payload" // as versionKind
	policyKind  = "secrets/policy"  // by the secret's name
	etagKind    = "secrets/etag"    // only counts
)

// txn is a transaction over what this package stores.
type txn struct {
	*state.Tx
	now time.Time
}

func (s *Server) view(fn func(*txn) error) error {
	return answer(s.store.View(func(tx *state.Tx) error { return fn(&txn{tx, s.now().UTC()}) }))
}

func (s *Server) update(fn func(*txn) error) error {
	return answer(s.store.Update(func(tx *state.Tx) error {
		t := &txn{tx, s.now().UTC()}
		if err := t.settle(); err != nil {
			return err
		}
		return fn(t)
	}))
}

// settle does what was to be done by now: expired secrets and the payloads of
// versions whose destruction was scheduled leave the disk with the next change.
// Until then reads treat them as gone.
func (tx *txn) settle() error {
	err := tx.Scan(secretKind, "", func(_ string, v []byte) error {
		secret := &pb.Secret{}
		if err := proto.Unmarshal(v, secret); err != nil || !isPast(secret.GetExpireTime(), tx.now) {
			return err
		}
		return tx.purge(secret.GetName())
	})
	if err != nil {
		return err
	}
	return tx.Scan(versionKind, "", func(key string, v []byte) error {
		version := &pb.SecretVersion{}
		if err := proto.Unmarshal(v, version); err != nil || !destroyIfDue(version, tx.now) {
			return err
		}
		return errors.Join(tx.Delete(payloadKind, key), tx.PutMessage(versionKind, key, version))
	})
}

// hidden is an error from beneath: its text is for whoever logs it, its status
// for the wire.
type hidden struct{ error }

func (h hidden) Unwrap() error { return h.error }

func (hidden) GRPCStatus() *status.Status {
	return status.New(codes.Internal, "the local cloud's state cannot be read or written")
}

func answer(err error) error {
	if _, ours := status.FromError(err); err == nil || ours {
		return err
	}
	return hidden{err}
}

// secret returns the secret of that name, or NotFound. An expired one is gone.
func (tx *txn) secret(name secretName) (*pb.Secret, error) {
	secret := &pb.Secret{}
	found, err := tx.GetMessage(secretKind, name.String(), secret)
	if err != nil {
		return nil, err
	}
	if !found || isPast(secret.GetExpireTime(), tx.now) {
		return nil, status.Errorf(codes.NotFound, "Secret [%s] not found.", name)
	}
	return secret, nil
}

func isPast(t *timestamppb.Timestamp, now time.Time) bool { return t != nil && !now.Before(t.AsTime()) }

// putSecret stores secret with an etag that it never had.
func (tx *txn) putSecret(secret *pb.Secret) error {
	var err error
	if secret.Etag, err = tx.newEtag(); err != nil {
		return err
	}
	return tx.PutMessage(secretKind, secret.Name, secret)
}

func (tx *txn) newEtag() (string, error) {
	n, err := tx.Next(etagKind)
	return fmt.Sprintf(`"%x"`, n+0x15f0000000000), err // it looks like Google's
}

// purge removes all there is of a secret.
func (tx *txn) purge(name string) error {
	for _, kind := range []string{versionKind, payloadKind} {
		err := tx.Scan(kind, name+"/versions/", func(key string, _ []byte) error { return tx.Delete(kind, key) })
		if err != nil {
			return err
		}
	}
	if err := tx.Delete(policyKind, name); err != nil {
		return err
	}
	return tx.Delete(secretKind, name)
}

// checkEtag compares an etag that a request may give.
func checkEtag(asked, current string) error {
	if asked != "" && asked != current {
		return status.Errorf(codes.FailedPrecondition, "The etag provided in the request, %s, does not match the resource's current etag, %s.", asked, current)
	}
	return nil
}
