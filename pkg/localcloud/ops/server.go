package ops

import (
	"context"
	"strings"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

var _ longrunningpb.OperationsServer = (*Operations)(nil)

// GetOperation returns an operation by its name.
func (o *Operations) GetOperation(_ context.Context, req *longrunningpb.GetOperationRequest) (*longrunningpb.Operation, error) {
	return o.get(req.GetName())
}

// WaitOperation returns when the operation is done, its timeout has passed or
// the caller's deadline has, and then says how far the operation is.
func (o *Operations) WaitOperation(ctx context.Context, req *longrunningpb.WaitOperationRequest) (*longrunningpb.Operation, error) {
	if req.GetTimeout() != nil {
		if err := req.GetTimeout().CheckValid(); err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "timeout: %v", err)
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, req.GetTimeout().AsDuration())
		defer cancel()
	}
	return o.wait(ctx, req.GetName())
}

// ListOperations returns the operations under a location or under a resource.
func (o *Operations) ListOperations(_ context.Context, req *longrunningpb.ListOperationsRequest) (*longrunningpb.ListOperationsResponse, error) {
	if req.GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "name: the parent of the operations is required")
	}
	wanted, err := parseFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	var found []*longrunningpb.Operation
	err = o.store.View(func(tx *state.Tx) error {
		return tx.Scan(kindOperation, strings.TrimSuffix(req.GetName(), "/operations")+"/", func(_ string, v []byte) error {
			var op longrunningpb.Operation
			if err := proto.Unmarshal(v, &op); err != nil {
				return err
			}
			if wanted(&op) {
				found = append(found, &op)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	page, next, err := Page(found, (*longrunningpb.Operation).GetName, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	return &longrunningpb.ListOperationsResponse{Operations: page, NextPageToken: next}, nil
}

// parseFilter understands the one field that every operation has.
func parseFilter(filter string) (func(*longrunningpb.Operation) bool, error) {
	switch strings.ToLower(strings.Join(strings.Fields(filter), "")) {
	case "":
		return func(*longrunningpb.Operation) bool { return true }, nil
	case "done=true", "done:true", "done":
		return (*longrunningpb.Operation).GetDone, nil
	case "done=false", "done:false", "notdone", "-done":
		return func(op *longrunningpb.Operation) bool { return !op.GetDone() }, nil
	}
	return nil, status.Errorf(codes.InvalidArgument, "filter: %q is not understood; use done=true or done=false", filter)
}

// DeleteOperation forgets an operation that is done.
func (o *Operations) DeleteOperation(_ context.Context, req *longrunningpb.DeleteOperationRequest) (*emptypb.Empty, error) {
	err := o.store.Update(func(tx *state.Tx) error {
		var op longrunningpb.Operation
		switch ok, err := tx.GetMessage(kindOperation, req.GetName(), &op); {
		case err != nil:
			return err
		case !ok:
			return status.Errorf(codes.NotFound, "Operation %q was not found", req.GetName())
		case !op.GetDone():
			return status.Errorf(codes.FailedPrecondition, "Operation %q is not done", req.GetName())
		}
		return tx.Delete(kindOperation, req.GetName())
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// CancelOperation asks the operation's reconciler to give up. It may have been
// too late for that: the operation itself tells. Cloud Run has no such call.
func (o *Operations) CancelOperation(_ context.Context, req *longrunningpb.CancelOperationRequest) (*emptypb.Empty, error) {
	op, err := o.get(req.GetName())
	if err != nil {
		return nil, err
	}
	if !hangsUnderResource(op.GetName()) {
		return nil, status.Error(codes.Unimplemented, "method google.longrunning.Operations/CancelOperation is not implemented for Cloud Run")
	}
	o.mu.Lock()
	cancel := o.cancels[op.GetName()]
	o.mu.Unlock()
	if cancel != nil {
		cancel(ErrCancelled)
	}
	return &emptypb.Empty{}, nil
}

// ErrCancelled is the cause of a Cancellable context that a caller cancelled.
var ErrCancelled = status.Error(codes.Canceled, "The operation was cancelled.")

// Cancellable returns a context that CancelOperation ends with ErrCancelled as
// its cause. The reconciler calls release when it no longer looks.
func (o *Operations) Cancellable(ctx context.Context, name string) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	o.mu.Lock()
	o.cancels[name] = cancel
	o.mu.Unlock()
	return ctx, func() {
		o.mu.Lock()
		delete(o.cancels, name)
		o.mu.Unlock()
		cancel(nil)
	}
}

// hangsUnderResource tells Vertex AI's operations, which are named after a
// model or an endpoint, from Cloud Run's, which are named after a location.
func hangsUnderResource(name string) bool {
	return len(strings.Split(name, "/")) > 6
}
