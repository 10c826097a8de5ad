package gcp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	run "cloud.google.com/go/run/apiv2"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/googleapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/gcp"
)

func TestGooglesErrorsInOurWords(t *testing.T) {
	t.Parallel()
	ours := fault.Newf(fault.Corrupt, "ours")
	for _, c := range []struct {
		err  error
		want fault.Kind
	}{
		{status.Error(codes.NotFound, "gone"), fault.NotFound},
		{status.Error(codes.Aborted, "etag"), fault.Stale},
		{status.Error(codes.AlreadyExists, "there"), fault.Stale},
		{status.Error(codes.PermissionDenied, "run.services.update"), fault.Denied},
		{status.Error(codes.Unauthenticated, "who"), fault.Unauthenticated},
		{status.Error(codes.ResourceExhausted, "quota"), fault.Limited},
		{status.Error(codes.Unavailable, "away"), fault.Unavailable},
		{status.Error(codes.InvalidArgument, "bad"), fault.Invalid},
		{status.Error(codes.DataLoss, "lost"), fault.Internal},
		{fmt.Errorf("call: %w", status.Error(codes.DeadlineExceeded, "slow")), fault.Timeout},
		{&googleapi.Error{Code: 412, Message: "precondition"}, fault.Stale},
		{&googleapi.Error{Code: 404}, fault.NotFound},
		{&googleapi.Error{Code: 418}, fault.Internal},
		{context.Canceled, fault.Interrupted},
		{context.DeadlineExceeded, fault.Timeout},
		{errors.New("credentials: could not find default credentials. See https://example.com for more information"), fault.Unauthenticated},
		{errors.New("connection reset"), fault.Unavailable},
		{fmt.Errorf("wrapped: %w", ours), fault.Corrupt},
	} {
		if got := gcp.Fault(c.err); fault.KindOf(got) != c.want || got.Error() == "" {
			t.Errorf("Fault(%v) is %s %q, want %s", c.err, fault.KindOf(got), got, c.want)
		}
	}
	if gcp.Fault(nil) != nil {
		t.Error("Fault(nil) is an error")
	}
}

// Google's clients must go on saying what Fault knows them by.
func TestNoCredentialsAreToldApart(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("CLOUDSDK_CONFIG", t.TempDir())
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client, err := run.NewServicesClient(ctx)
	if err == nil {
		client.Close()
		t.Skip("this machine has credentials of its own")
	}
	err = gcp.Fault(err)
	if fault.KindOf(err) != fault.Unauthenticated || !strings.Contains(fault.HintOf(err), "gcloud auth application-default login") {
		t.Errorf("got %v (hint: %s), want Unauthenticated with how to log in", err, fault.HintOf(err))
	}
}

// answers is a client that gives one answer after the other.
type answers []func() (*longrunningpb.Operation, error)

func (a *answers) GetOperation(context.Context, *longrunningpb.GetOperationRequest, ...gax.CallOption) (*longrunningpb.Operation, error) {
	next := (*a)[0]
	if len(*a) > 1 {
		*a = (*a)[1:]
	}
	return next()
}

func running() (*longrunningpb.Operation, error) { return &longrunningpb.Operation{}, nil }
func done() (*longrunningpb.Operation, error)    { return &longrunningpb.Operation{Done: true}, nil }
func away() (*longrunningpb.Operation, error)    { return nil, status.Error(codes.Unavailable, "away") }
func failed() (*longrunningpb.Operation, error) {
	return &longrunningpb.Operation{Done: true, Result: &longrunningpb.Operation_Error{
		Error: status.New(codes.FailedPrecondition, "the revision is not ready").Proto(),
	}}, nil
}

func TestOperationsAreWaitedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		client answers
		want   fault.Kind
		ok     bool
		within time.Duration
	}{
		"at once":                 {answers{done}, 0, true, 0},
		"after a while":           {answers{running, running, running, done}, 0, true, time.Second},
		"that fail":               {answers{running, failed}, fault.Stale, false, time.Second},
		"through a short absence": {answers{away, away, running, away, done}, 0, true, time.Second},
		"not for ever":            {answers{away}, fault.Unavailable, false, 2 * time.Minute},
		"that nobody knows":       {answers{func() (*longrunningpb.Operation, error) { return nil, status.Error(codes.NotFound, "no such") }}, fault.NotFound, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := gcp.WaitOperation(t.Context(), &c.client, "operations/1")
				if c.ok != (err == nil) || err != nil && fault.KindOf(err) != c.want {
					t.Errorf("%v, want ok %v, kind %s", err, c.ok, c.want)
				}
				if took := time.Since(began); took > c.within {
					t.Errorf("it took %s, want at most %s", took, c.within)
				}
			})
		})
	}
}

func TestWaitingCanBeCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := gcp.WaitOperation(ctx, &answers{running}, "operations/1"); fault.KindOf(err) != fault.Timeout {
			t.Errorf("%v, want Timeout", err)
		}
	})
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	e := gcp.Endpoint{Project: "p", Region: "europe-west1"}
	if got := e.Parent(); got != "projects/p/locations/europe-west1" {
		t.Errorf("Parent = %q", got)
	}
	for _, service := range []string{"run", "aiplatform"} {
		if _, err := e.Options(t.Context(), service); err != nil {
			t.Errorf("options of %s at Google need a network: %v", service, err)
		}
	}
	e.Address = "127.0.0.1:1"
	if _, err := e.Options(t.Context(), "run"); fault.KindOf(err) != fault.Unavailable || fault.HintOf(err) == "" {
		t.Errorf("nobody there: %v, want Unavailable with a hint", err)
	}
}
