package main

import (
	"errors"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"cloud.google.com/go/run/apiv2/runpb"
	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// A local cloud that is killed comes back with everything it had, at the same
// addresses, and serves.
func TestAKilledCloudComesBack(t *testing.T) {
	o := Options{Bin: abs(t, "../../bin"), Models: abs(t, "../tft"), Out: t.Output()}
	s := &story{Options: o, work: t.TempDir()}
	t.Cleanup(func() {
		if err := s.cleanUp(); err != nil {
			t.Error(err)
		}
	})
	ctx := t.Context()
	do := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	do("start", s.measureStart(ctx))
	do("up", s.localUp(ctx))
	do("init", s.init(ctx))
	do("push", s.pushFirst(ctx))
	do("deploy", s.deployFirst(ctx))

	secrets, err := secretmanager.NewClient(ctx, option.WithEndpoint(s.cloud.Endpoint), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	do("dial", err)
	defer secrets.Close()
	_, err = secrets.CreateSecret(ctx, &secretmanagerpb.CreateSecretRequest{
		Parent: "projects/" + project, SecretId: "key",
		Secret: &secretmanagerpb.Secret{Replication: &secretmanagerpb.Replication{
			Replication: &secretmanagerpb.Replication_Automatic_{Automatic: &secretmanagerpb.Replication_Automatic{}},
		}},
	})
	do("create a secret", err)

	list := func() (names []string) {
		t.Helper()
		services := s.calls.services.ListServices(ctx, &runpb.ListServicesRequest{Parent: parent()})
		names = append(names, collect(t, services.Next, (*runpb.Service).GetName)...)
		endpoints := s.calls.endpoints.ListEndpoints(ctx, &aiplatformpb.ListEndpointsRequest{Parent: parent()})
		names = append(names, collect(t, endpoints.Next, (*aiplatformpb.Endpoint).GetName)...)
		all := secrets.ListSecrets(ctx, &secretmanagerpb.ListSecretsRequest{Parent: "projects/" + project})
		return append(names, collect(t, all.Next, (*secretmanagerpb.Secret).GetName)...)
	}
	before := list()
	if len(before) != 3 {
		t.Fatalf("before: %v, want a service, an endpoint and a secret", before)
	}

	was := s.cloud
	do("kill", syscall.Kill(was.PID, syscall.SIGKILL))
	waitFor(t, func() bool { return errors.Is(syscall.Kill(was.PID, 0), syscall.ESRCH) || s.nothingLeft() == nil })
	do("close", s.calls.close())
	do("up again", s.localUp(ctx))
	if s.cloud.Endpoint != was.Endpoint || s.cloud.FrontURL != was.FrontURL {
		t.Errorf("it came back at %s and %s, it was at %s and %s", s.cloud.Endpoint, s.cloud.FrontURL, was.Endpoint, was.FrontURL)
	}
	if after := list(); !slices.Equal(after, before) {
		t.Errorf("after: %v, before: %v", after, before)
	}
	golden := filepath.Join(o.Models, "golden.json")
	for name, ask := range map[string]asker{"Cloud Run": s.calls.run, "Vertex AI": s.calls.vertex} {
		if checked, worst, err := checkGolden(ctx, golden, ask); err != nil || checked != 32 || worst > mostGolden {
			t.Errorf("%s: %d golden answers, %.1e off, %v", name, checked, worst, err)
		}
	}
	do("down", s.down(ctx))
}

func abs(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// collect returns the names of all that next gives.
func collect[T any](t *testing.T, next func() (T, error), name func(T) string) (names []string) {
	t.Helper()
	for {
		one, err := next()
		if errors.Is(err, iterator.Done) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name(one))
	}
}

// waitFor asks again and again until it holds.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(10 * time.Second); !holds(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not come to hold within 10 s")
		}
	}
}
