package secrets

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/iam/apiv1/iampb"
	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	pb "cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// cloud is a Server that Google's client speaks with, over a file that outlives both.
type cloud struct {
	t      *testing.T
	path   string
	store  *state.Store
	server *Server
	client *secretmanager.Client
	stop   func()
}

func newCloud(t *testing.T, projects ...Project) *cloud {
	t.Helper()
	c := &cloud{t: t, path: filepath.Join(t.TempDir(), "state.db")}
	c.open(projects...)
	t.Cleanup(func() { c.stop() })
	return c
}

func (c *cloud) open(projects ...Project) {
	c.t.Helper()
	var err error
	if c.store, err = state.Open(c.path); err != nil {
		c.t.Fatal(err)
	}
	c.server = New(c.store, projects...)
	listener := bufconn.Listen(1 << 20)
	g := grpc.NewServer()
	pb.RegisterSecretManagerServiceServer(g, c.server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Serve(listener)
	}()
	conn, err := grpc.NewClient("passthrough:///local", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.client, err = secretmanager.NewClient(c.t.Context(), option.WithGRPCConn(conn)); err != nil {
		c.t.Fatal(err)
	}
	c.stop = func() {
		c.client.Close()
		g.Stop()
		<-done
		c.store.Close()
	}
}

func automatic() *pb.Secret {
	return &pb.Secret{Replication: &pb.Replication{Replication: &pb.Replication_Automatic_{Automatic: &pb.Replication_Automatic{}}}}
}

func (c *cloud) create(id string) *pb.Secret {
	c.t.Helper()
	s, err := c.client.CreateSecret(c.t.Context(), &pb.CreateSecretRequest{Parent: "projects/p", SecretId: id, Secret: automatic()})
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *cloud) add(secret, payload string) *pb.SecretVersion {
	c.t.Helper()
	v, err := c.client.AddSecretVersion(c.t.Context(), &pb.AddSecretVersionRequest{Parent: secret, Payload: &pb.SecretPayload{Data: []byte(payload)}})
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

func (c *cloud) access(version string) (string, error) {
	res, err := c.client.AccessSecretVersion(c.t.Context(), &pb.AccessSecretVersionRequest{Name: version})
	if err != nil {
		return "", err
	}
	if res.GetPayload().GetDataCrc32C() != checksum(res.GetPayload().GetData()) {
		c.t.Errorf("%s: the checksum is not that of the payload", version)
	}
	return string(res.GetPayload().GetData()), nil
}

func (c *cloud) wantAccess(version, want string) {
	c.t.Helper()
	got, err := c.access(version)
	if err != nil || got != want {
		c.t.Errorf("access %s: got %q, %v; want %q", version, got, err, want)
	}
}

func wantCode(t *testing.T, what string, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("%s: got %v (%v), want %v", what, got, err, want)
	}
}

func TestLatestIsTheVersionCreatedLast(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	secret := c.create("token").GetName()
	_, err := c.access(secret + "/versions/latest")
	wantCode(t, "access to a secret without versions", err, codes.NotFound)
	for i, text := range []string{"one", "two", "three"} {
		v := c.add(secret, text)
		if want := fmt.Sprintf("projects/p/secrets/token/versions/%d", i+1); v.GetName() != want || v.GetState() != pb.SecretVersion_ENABLED ||
			v.GetReplicationStatus().GetAutomatic() == nil || v.GetEtag() == "" || v.GetCreateTime() == nil {
			t.Errorf("added %v, want %s", v, want)
		}
	}
	c.wantAccess(secret+"/versions/latest", "three")
	c.wantAccess(secret+"/versions/1", "one")
	_, err = c.client.DisableSecretVersion(t.Context(), &pb.DisableSecretVersionRequest{Name: secret + "/versions/3"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.access(secret + "/versions/latest")
	wantCode(t, "access to the latest one, disabled", err, codes.FailedPrecondition)
	latest, err := c.client.GetSecretVersion(t.Context(), &pb.GetSecretVersionRequest{Name: secret + "/versions/latest"})
	if err != nil || latest.GetName() != secret+"/versions/3" {
		t.Errorf("latest is %v, %v; want version 3", latest, err)
	}
	_, err = c.access(secret + "/versions/4")
	wantCode(t, "access to a version that is not there", err, codes.NotFound)
}

func TestAVersionThatIsDestroyedStaysDestroyed(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	ctx := t.Context()
	secret := c.create("token").GetName()
	name := c.add(secret, "the-payload").GetName()
	off, err := c.client.DisableSecretVersion(ctx, &pb.DisableSecretVersionRequest{Name: name})
	if err != nil || off.GetState() != pb.SecretVersion_DISABLED {
		t.Fatalf("disable: %v, %v", off, err)
	}
	on, err := c.client.EnableSecretVersion(ctx, &pb.EnableSecretVersionRequest{Name: name, Etag: off.GetEtag()})
	if err != nil || on.GetState() != pb.SecretVersion_ENABLED {
		t.Fatalf("enable: %v, %v", on, err)
	}
	_, err = c.client.DestroySecretVersion(ctx, &pb.DestroySecretVersionRequest{Name: name, Etag: off.GetEtag()})
	wantCode(t, "destroy with an old etag", err, codes.FailedPrecondition)
	c.wantAccess(name, "the-payload")
	gone, err := c.client.DestroySecretVersion(ctx, &pb.DestroySecretVersionRequest{Name: name, Etag: on.GetEtag()})
	if err != nil || gone.GetState() != pb.SecretVersion_DESTROYED || gone.GetDestroyTime() == nil {
		t.Fatalf("destroy: %v, %v", gone, err)
	}
	_, err = c.access(name)
	wantCode(t, "access", err, codes.FailedPrecondition)
	_, err = c.client.EnableSecretVersion(ctx, &pb.EnableSecretVersionRequest{Name: name})
	wantCode(t, "enable", err, codes.FailedPrecondition)
	c.store.View(func(tx *state.Tx) error {
		return tx.Scan(payloadKind, "", func(key string, _ []byte) error {
			t.Errorf("the payload of %s is still there", key)
			return nil
		})
	})
	if v := c.add(secret, "next"); !strings.HasSuffix(v.GetName(), "/versions/2") {
		t.Errorf("the next version is %s, want 2", v.GetName())
	}
}

func TestADelayedDestructionWaitsAndCanBeCalledOff(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	ctx := t.Context()
	clock := time.Now()
	c.server.now = func() time.Time { return clock }
	settings := automatic()
	settings.VersionDestroyTtl = durationpb.New(24 * time.Hour)
	secret, err := c.client.CreateSecret(ctx, &pb.CreateSecretRequest{Parent: "projects/p", SecretId: "slow", Secret: settings})
	if err != nil {
		t.Fatal(err)
	}
	name := c.add(secret.GetName(), "one").GetName()
	v, err := c.client.DestroySecretVersion(ctx, &pb.DestroySecretVersionRequest{Name: name})
	if err != nil || v.GetState() != pb.SecretVersion_DISABLED || v.GetScheduledDestroyTime() == nil {
		t.Fatalf("destroy: %v, %v", v, err)
	}
	if v, err = c.client.EnableSecretVersion(ctx, &pb.EnableSecretVersionRequest{Name: name}); err != nil || v.GetScheduledDestroyTime() != nil {
		t.Fatalf("enable: %v, %v", v, err)
	}
	if _, err := c.client.DestroySecretVersion(ctx, &pb.DestroySecretVersionRequest{Name: name}); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(25 * time.Hour)
	v, err = c.client.GetSecretVersion(ctx, &pb.GetSecretVersionRequest{Name: name})
	if err != nil || v.GetState() != pb.SecretVersion_DESTROYED {
		t.Errorf("a day later: %v, %v; want it destroyed", v, err)
	}
	_, err = c.client.EnableSecretVersion(ctx, &pb.EnableSecretVersionRequest{Name: name})
	wantCode(t, "enable a day later", err, codes.FailedPrecondition)
}

func TestAliasesNameVersionsForReadersOnly(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	ctx := t.Context()
	secret := c.create("token")
	c.add(secret.GetName(), "one")
	c.add(secret.GetName(), "two")
	set := func(aliases map[string]int64, etag string) (*pb.Secret, error) {
		return c.client.UpdateSecret(ctx, &pb.UpdateSecretRequest{
			Secret:     &pb.Secret{Name: secret.GetName(), VersionAliases: aliases, Etag: etag},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"version_aliases"}},
		})
	}
	changed, err := set(map[string]int64{"live": 1}, secret.GetEtag())
	if err != nil {
		t.Fatal(err)
	}
	c.wantAccess(secret.GetName()+"/versions/live", "one")
	_, err = set(map[string]int64{"live": 2}, secret.GetEtag())
	wantCode(t, "update with an old etag", err, codes.FailedPrecondition)
	_, err = set(map[string]int64{"live": 9}, "")
	wantCode(t, "an alias of a version that is not there", err, codes.FailedPrecondition)
	for _, alias := range []string{"latest", "NEW", "1st", "", strings.Repeat("a", 64)} {
		_, err = set(map[string]int64{alias: 1}, "")
		wantCode(t, "alias "+alias, err, codes.InvalidArgument)
	}
	_, err = c.client.DisableSecretVersion(ctx, &pb.DisableSecretVersionRequest{Name: secret.GetName() + "/versions/live"})
	wantCode(t, "disable by alias", err, codes.InvalidArgument)
	_, err = c.client.DestroySecretVersion(ctx, &pb.DestroySecretVersionRequest{Name: secret.GetName() + "/versions/latest"})
	wantCode(t, "destroy latest", err, codes.InvalidArgument)
	c.wantAccess(secret.GetName()+"/versions/live", "one")
	if _, err = set(map[string]int64{"live": 2}, changed.GetEtag()); err != nil {
		t.Fatal(err)
	}
	c.wantAccess(secret.GetName()+"/versions/live", "two")
}

func TestAPayloadIsVerifiedAndNeverRepeated(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	secret := c.create("token").GetName()
	const payload = "a-very-secret-payload"
	for what, p := range map[string]*pb.SecretPayload{
		"a wrong checksum":    {Data: []byte(payload), DataCrc32C: proto.Int64(1)},
		"an impossible one":   {Data: []byte(payload), DataCrc32C: proto.Int64(checksum([]byte(payload)) + 1<<32)},
		"no payload":          nil,
		"an empty payload":    {},
		"64 KiB and one byte": {Data: []byte(strings.Repeat(payload, 64<<10)[:64<<10+1])},
	} {
		_, err := c.client.AddSecretVersion(t.Context(), &pb.AddSecretVersionRequest{Parent: secret, Payload: p})
		wantCode(t, what, err, codes.InvalidArgument)
		if strings.Contains(fmt.Sprint(err), payload) {
			t.Errorf("%s: the error repeats the payload: %v", what, err)
		}
	}
	if _, err := c.access(secret + "/versions/1"); status.Code(err) != codes.NotFound {
		t.Errorf("a refused version was stored: %v", err)
	}
	v, err := c.client.AddSecretVersion(t.Context(), &pb.AddSecretVersionRequest{Parent: secret,
		Payload: &pb.SecretPayload{Data: []byte(payload), DataCrc32C: proto.Int64(checksum([]byte(payload)))}})
	if err != nil || !v.GetClientSpecifiedPayloadChecksum() {
		t.Errorf("a right checksum: %v, %v", v, err)
	}
	if _, err := c.client.AddSecretVersion(t.Context(), &pb.AddSecretVersionRequest{Parent: secret,
		Payload: &pb.SecretPayload{Data: make([]byte, 64<<10)}}); err != nil {
		t.Errorf("64 KiB: %v", err)
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.create("there")
	past := automatic()
	past.Expiration = &pb.Secret_ExpireTime{ExpireTime: timestamppb.New(time.Unix(1, 0))}
	labelled := automatic()
	labelled.Labels = map[string]string{"Upper": "x"}
	rotating := automatic()
	rotating.Rotation = &pb.Rotation{NextRotationTime: timestamppb.New(time.Now().Add(time.Hour))}
	twice := &pb.Secret{Replication: &pb.Replication{Replication: &pb.Replication_UserManaged_{UserManaged: &pb.Replication_UserManaged{
		Replicas: []*pb.Replication_UserManaged_Replica{{Location: "us-east1"}, {Location: "us-east1"}}}}}}
	nowhere := &pb.Secret{Replication: &pb.Replication{Replication: &pb.Replication_UserManaged_{UserManaged: &pb.Replication_UserManaged{}}}}
	aliased := automatic()
	aliased.VersionAliases = map[string]int64{"live": 1}
	for _, r := range []struct {
		what, parent, id string
		secret           *pb.Secret
		want             codes.Code
	}{
		{"a parent that is none", "p", "s", automatic(), codes.InvalidArgument},
		{"no id", "projects/p", "", automatic(), codes.InvalidArgument},
		{"an id with a dot", "projects/p", "a.b", automatic(), codes.InvalidArgument},
		{"an id that is too long", "projects/p", strings.Repeat("a", 256), automatic(), codes.InvalidArgument},
		{"no secret", "projects/p", "s", nil, codes.InvalidArgument},
		{"no replication", "projects/p", "s", &pb.Secret{}, codes.InvalidArgument},
		{"a replication without a place", "projects/p", "s", nowhere, codes.InvalidArgument},
		{"a place twice", "projects/p", "s", twice, codes.InvalidArgument},
		{"a regional secret with a replication", "projects/p/locations/us-east1", "s", automatic(), codes.InvalidArgument},
		{"an expiry in the past", "projects/p", "s", past, codes.InvalidArgument},
		{"a bad label", "projects/p", "s", labelled, codes.InvalidArgument},
		{"a rotation without a topic", "projects/p", "s", rotating, codes.InvalidArgument},
		{"an alias of nothing", "projects/p", "s", aliased, codes.FailedPrecondition},
		{"one that is there", "projects/p", "there", automatic(), codes.AlreadyExists},
	} {
		_, err := c.client.CreateSecret(t.Context(), &pb.CreateSecretRequest{Parent: r.parent, SecretId: r.id, Secret: r.secret})
		wantCode(t, r.what, err, r.want)
	}
	_, err := c.client.GetSecret(t.Context(), &pb.GetSecretRequest{Name: "projects/p/secrets/s"})
	wantCode(t, "get what was refused", err, codes.NotFound)
	for _, paths := range [][]string{nil, {"replication"}, {"none"}} {
		_, err = c.client.UpdateSecret(t.Context(), &pb.UpdateSecretRequest{Secret: &pb.Secret{Name: "projects/p/secrets/there"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
		wantCode(t, fmt.Sprintf("update of %v", paths), err, codes.InvalidArgument)
	}
	err = c.client.DeleteSecret(t.Context(), &pb.DeleteSecretRequest{Name: "projects/p/secrets/there", Etag: `"0"`})
	wantCode(t, "delete with an old etag", err, codes.FailedPrecondition)
	_, err = c.client.RotateSecret(t.Context(), &pb.RotateSecretRequest{})
	wantCode(t, "what is not implemented", err, codes.Unimplemented)
	if !strings.Contains(err.Error(), "RotateSecret") {
		t.Errorf("%v does not name itself", err)
	}
}

func TestListsComeInPagesNewestFirst(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	clock := time.Now()
	c.server.now = func() time.Time { clock = clock.Add(time.Second); return clock }
	for _, id := range []string{"b", "a", "d", "c"} {
		c.create(id)
	}
	if _, err := c.client.CreateSecret(t.Context(), &pb.CreateSecretRequest{Parent: "projects/p/locations/us-east1", SecretId: "regional", Secret: &pb.Secret{}}); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int32{0, 1, 2, 3, 100} {
		var got []string
		it := c.client.ListSecrets(t.Context(), &pb.ListSecretsRequest{Parent: "projects/p", PageSize: size})
		for s, err := it.Next(); !errors.Is(err, iterator.Done); s, err = it.Next() {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.TrimPrefix(s.GetName(), "projects/p/secrets/"))
		}
		if want := []string{"c", "d", "a", "b"}; !cmp.Equal(got, want) {
			t.Errorf("in pages of %d: got %v, want %v", size, got, want)
		}
	}
	for range 12 {
		c.add("projects/p/secrets/a", "x")
	}
	if _, err := c.client.DisableSecretVersion(t.Context(), &pb.DisableSecretVersionRequest{Name: "projects/p/secrets/a/versions/5"}); err != nil {
		t.Fatal(err)
	}
	for filter, want := range map[string]string{"": "12 11 10 9 8 7 6 5 4 3 2 1", "state:DISABLED": "5"} {
		var got []string
		it := c.client.ListSecretVersions(t.Context(), &pb.ListSecretVersionsRequest{Parent: "projects/p/secrets/a", PageSize: 5, Filter: filter})
		for v, err := it.Next(); !errors.Is(err, iterator.Done); v, err = it.Next() {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, v.GetName()[strings.LastIndex(v.GetName(), "/")+1:])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("versions by %q: got %v, want %s", filter, got, want)
		}
	}
	_, err := c.client.ListSecrets(t.Context(), &pb.ListSecretsRequest{Parent: "projects/p", Filter: "labels.x=y"}).Next()
	wantCode(t, "a filter that nobody knows", err, codes.Unimplemented)
	_, err = c.client.ListSecrets(t.Context(), &pb.ListSecretsRequest{Parent: "projects/p", PageToken: "?"}).Next()
	wantCode(t, "a token that is none", err, codes.InvalidArgument)
}

func TestPoliciesAreGuardedByTheirEtag(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	ctx := t.Context()
	name := c.create("token").GetName()
	first, err := c.client.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: name})
	if err != nil || len(first.GetBindings()) != 0 || len(first.GetEtag()) == 0 {
		t.Fatalf("the first policy is %v, %v", first, err)
	}
	want := &iampb.Policy{Etag: first.GetEtag(), Bindings: []*iampb.Binding{{Role: "roles/secretmanager.secretAccessor", Members: []string{"user:a@example.com"}}}}
	if _, err := c.client.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{Resource: name, Policy: want}); err != nil {
		t.Fatal(err)
	}
	_, err = c.client.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{Resource: name, Policy: want})
	wantCode(t, "a policy over one that was changed meanwhile", err, codes.Aborted)
	got, err := c.client.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: name})
	if err != nil || len(got.GetBindings()) != 1 {
		t.Errorf("the policy is %v, %v; want one binding", got, err)
	}
	for resource, want := range map[string]int{name: 1, "projects/p/secrets/none": 0} {
		res, err := c.client.TestIamPermissions(ctx, &iampb.TestIamPermissionsRequest{Resource: resource, Permissions: []string{"secretmanager.versions.access"}})
		if err != nil || len(res.GetPermissions()) != want {
			t.Errorf("permissions on %s: %v, %v; want %d", resource, res, err, want)
		}
	}
	_, err = c.client.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: "projects/p/secrets/none"})
	wantCode(t, "the policy of nothing", err, codes.NotFound)
}

func TestEverythingOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	name := c.create("token").GetName()
	c.add(name, "one")
	c.add(name, "two")
	before, err := c.client.GetSecret(t.Context(), &pb.GetSecretRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	c.stop()
	c.open()
	after, err := c.client.GetSecret(t.Context(), &pb.GetSecretRequest{Name: name})
	if err != nil || !proto.Equal(before, after) {
		t.Errorf("after a restart %v, %v; want %v", after, err, before)
	}
	c.wantAccess(name+"/versions/latest", "two")
	c.wantAccess(name+"/versions/1", "one")
	if err := c.client.DeleteSecret(t.Context(), &pb.DeleteSecretRequest{Name: name}); err != nil {
		t.Fatal(err)
	}
	_, err = c.access(name + "/versions/1")
	wantCode(t, "access after delete", err, codes.NotFound)
	c.create("token")
	if v := c.add(name, "new"); !strings.HasSuffix(v.GetName(), "/versions/1") {
		t.Errorf("the first version of a new secret is %s, want 1", v.GetName())
	}
}

func TestAnExpiredSecretIsGone(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	clock := time.Now()
	c.server.now = func() time.Time { return clock }
	settings := automatic()
	settings.Expiration = &pb.Secret_Ttl{Ttl: durationpb.New(time.Hour)}
	secret, err := c.client.CreateSecret(t.Context(), &pb.CreateSecretRequest{Parent: "projects/p", SecretId: "short", Secret: settings})
	if err != nil || secret.GetExpireTime() == nil {
		t.Fatalf("created %v, %v", secret, err)
	}
	c.add(secret.GetName(), "old")
	clock = clock.Add(2 * time.Hour)
	_, err = c.access(secret.GetName() + "/versions/latest")
	wantCode(t, "access after the end", err, codes.NotFound)
	c.create("short")
	_, err = c.access(secret.GetName() + "/versions/latest")
	wantCode(t, "access to the next of that name", err, codes.NotFound)
}

func TestAProjectHasTwoNames(t *testing.T) {
	t.Parallel()
	c := newCloud(t, Project{ID: "p", Number: 123})
	if got := c.create("token").GetName(); got != "projects/123/secrets/token" {
		t.Errorf("created %s, want it under the project's number", got)
	}
	for _, parent := range []string{"projects/p", "projects/123"} {
		if _, err := c.client.GetSecret(t.Context(), &pb.GetSecretRequest{Name: parent + "/secrets/token"}); err != nil {
			t.Errorf("get under %s: %v", parent, err)
		}
	}
}
