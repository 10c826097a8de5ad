package ops_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tftctl/tftctl/pkg/localcloud/ops"
	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	service = "projects/p/locations/l/services/s"
	name    = "projects/p/locations/l/operations/1"
)

func openStore(t *testing.T, path string) *state.Store {
	t.Helper()
	store, err := state.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func begin(t *testing.T, o *ops.Operations, name string) {
	t.Helper()
	err := o.Update(func(tx *state.Tx) error {
		return o.Begin(tx, name, service, wrapperspb.String("metadata"), map[string]int{"generation": 3})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func succeed(t *testing.T, o *ops.Operations, name string) {
	t.Helper()
	err := o.Update(func(tx *state.Tx) error { return o.Succeed(tx, name, nil, wrapperspb.String("response")) })
	if err != nil {
		t.Fatal(err)
	}
}

func TestOperationOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	first := openStore(t, path)
	begin(t, ops.New(first), name)
	first.Close()

	store := openStore(t, path)
	o := ops.New(store)
	var tasks []ops.Task
	store.View(func(tx *state.Tx) (err error) {
		tasks, err = o.Unfinished(tx, service)
		return err
	})
	if len(tasks) != 1 || tasks[0].Name != name || string(tasks[0].Data) != `{"generation":3}` {
		t.Fatalf("unfinished after the restart: %+v", tasks)
	}
	succeed(t, o, name)
	op, err := o.GetOperation(t.Context(), &longrunningpb.GetOperationRequest{Name: name})
	var response wrapperspb.StringValue
	if err != nil || !op.GetDone() || op.GetResponse().UnmarshalTo(&response) != nil || response.Value != "response" {
		t.Errorf("got %v, %v", op, err)
	}
	store.View(func(tx *state.Tx) (err error) {
		tasks, err = o.Unfinished(tx, "")
		return err
	})
	if len(tasks) != 0 {
		t.Errorf("still unfinished: %+v", tasks)
	}
}

// A transaction that fails leaves neither what was wanted nor its operation.
func TestOperationIsStoredWithWhatItIsAbout(t *testing.T) {
	t.Parallel()
	o := ops.New(openStore(t, filepath.Join(t.TempDir(), "state.db")))
	refused := errors.New("refused")
	err := o.Update(func(tx *state.Tx) error {
		return errors.Join(o.Begin(tx, name, service, wrapperspb.String(""), nil), refused)
	})
	if !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if _, err := o.GetOperation(t.Context(), &longrunningpb.GetOperationRequest{Name: name}); status.Code(err) != codes.NotFound {
		t.Errorf("got %v, want NotFound", err)
	}
}

func TestFirstReplyIsHeldForASecond(t *testing.T) {
	t.Parallel()
	store := openStore(t, filepath.Join(t.TempDir(), "state.db"))
	synctest.Test(t, func(t *testing.T) {
		o := ops.New(store)
		begin(t, o, name)
		began := time.Now()
		op, err := o.Answer(t.Context(), name)
		if err != nil || op.GetDone() || time.Since(began) != ops.Hold {
			t.Errorf("after %s done=%v, %v", time.Since(began), op.GetDone(), err)
		}

		var waiting sync.WaitGroup
		waiting.Go(func() {
			op, err := o.Answer(t.Context(), name)
			if err != nil || !op.GetDone() {
				t.Errorf("done=%v, %v; want the answer that came meanwhile", op.GetDone(), err)
			}
		})
		synctest.Wait()
		succeed(t, o, name)
		waiting.Wait()

		began = time.Now()
		begin(t, o, name+"2")
		op, err = o.WaitOperation(t.Context(), &longrunningpb.WaitOperationRequest{Name: name + "2", Timeout: durationpb.New(time.Minute)})
		if err != nil || op.GetDone() || time.Since(began) != time.Minute {
			t.Errorf("after %s done=%v, %v", time.Since(began), op.GetDone(), err)
		}
	})
}

func TestOperationsAreListedByParentAndFilter(t *testing.T) {
	t.Parallel()
	o := ops.New(openStore(t, filepath.Join(t.TempDir(), "state.db")))
	for _, n := range []string{"1", "2", "3"} {
		begin(t, o, "projects/p/locations/l/operations/"+n)
	}
	begin(t, o, "projects/p/locations/elsewhere/operations/1")
	succeed(t, o, "projects/p/locations/l/operations/2")
	list := func(filter string) (names []string) {
		t.Helper()
		for token := ""; ; {
			res, err := o.ListOperations(t.Context(), &longrunningpb.ListOperationsRequest{Name: "projects/p/locations/l", Filter: filter, PageSize: 1, PageToken: token})
			if err != nil {
				t.Fatal(err)
			}
			for _, op := range res.GetOperations() {
				names = append(names, op.GetName()[len(op.GetName())-1:])
			}
			if token = res.GetNextPageToken(); token == "" {
				return names
			}
		}
	}
	for filter, want := range map[string]int{"": 3, "done = true": 1, "done=false": 2} {
		if got := list(filter); len(got) != want {
			t.Errorf("filter %q: %v", filter, got)
		}
	}
	if _, err := o.ListOperations(t.Context(), &longrunningpb.ListOperationsRequest{Name: "projects/p", Filter: "x>1"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a filter that is not understood ended with %v", err)
	}
	if _, err := o.DeleteOperation(t.Context(), &longrunningpb.DeleteOperationRequest{Name: name}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("deleting an unfinished operation ended with %v", err)
	}
	if _, err := o.DeleteOperation(t.Context(), &longrunningpb.DeleteOperationRequest{Name: "projects/p/locations/l/operations/2"}); err != nil {
		t.Error(err)
	}
	if _, err := o.CancelOperation(t.Context(), &longrunningpb.CancelOperationRequest{Name: name}); status.Code(err) != codes.Unimplemented {
		t.Errorf("cancelling an operation of Cloud Run ended with %v", err)
	}
}

func TestCancelEndsTheReconcilersContext(t *testing.T) {
	t.Parallel()
	o := ops.New(openStore(t, filepath.Join(t.TempDir(), "state.db")))
	deployment := "projects/p/locations/l/endpoints/e/operations/1"
	begin(t, o, deployment)
	ctx, release := o.Cancellable(t.Context(), deployment)
	defer release()
	if _, err := o.CancelOperation(t.Context(), &longrunningpb.CancelOperationRequest{Name: deployment}); err != nil {
		t.Fatal(err)
	}
	if err := context.Cause(ctx); !errors.Is(err, ops.ErrCancelled) {
		t.Errorf("the cause is %v", err)
	}
}

func TestReconcilerRunsOncePerResourceAndAgainWhenKicked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var running, runs int
		var superseded error
		r := ops.NewReconciler(slog.New(slog.DiscardHandler), func(ctx context.Context, _ string) error {
			running++
			runs++
			if running > 1 {
				t.Error("two passes at a time")
			}
			if runs == 1 {
				<-ctx.Done()
				superseded = context.Cause(ctx)
			}
			running--
			return nil
		})
		r.Kick("a")
		synctest.Wait()
		r.Kick("a")
		r.Kick("a")
		synctest.Wait()
		r.Close()
		if runs != 2 || !errors.Is(superseded, ops.ErrSuperseded) {
			t.Errorf("%d runs, the first ended by %v", runs, superseded)
		}
		r.Kick("a")
		synctest.Wait()
		if runs != 2 {
			t.Error("a pass began after Close")
		}
	})
}

func TestReconcilerComesBackAfterAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		r := ops.NewReconciler(slog.New(slog.DiscardHandler), func(context.Context, string) error {
			if runs++; runs < 4 {
				return errors.New("the disk is full")
			}
			return nil
		})
		r.Kick("a")
		<-time.After(time.Minute)
		r.Close()
		if runs != 4 {
			t.Errorf("%d runs, want 4", runs)
		}
	})
}

func TestNames(t *testing.T) {
	t.Parallel()
	for range 1000 {
		if d := ops.Digits(10); len(d) != 10 || d[0] == '0' {
			t.Fatalf("Digits(10) = %s", d)
		}
		if d := ops.Digits(19); len(d) != 19 {
			t.Fatalf("Digits(19) = %s", d)
		}
		if u := ops.UUID(); len(u) != 36 || u[14] != '4' {
			t.Fatalf("UUID() = %s", u)
		}
	}
}
