// Package ops keeps the long-running operations of all services: stored in the
// transaction that stores what was asked for, so that a restart finds both or
// neither, and served as google.longrunning.Operations.
package ops

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

const (
	kindOperation  = "ops/operation"  // name -> longrunningpb.Operation
	kindUnfinished = "ops/unfinished" // name -> unfinished, until the operation is done
)

// Hold is how long the reply to a call that begins an operation waits for the
// operation to be done. Terraform polls every ten seconds, so an operation that
// is done in its first answer saves ten.
const Hold = time.Second

// Operations holds every operation. It is safe for concurrent use.
type Operations struct {
	longrunningpb.UnimplementedOperationsServer

	store *state.Store

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever an operation may have changed
	cancels map[string]context.CancelCauseFunc
	closed  bool
}

// New returns the operations that store holds.
func New(store *state.Store) *Operations {
	return &Operations{
		store:   store,
		changed: make(chan struct{}),
		cancels: map[string]context.CancelCauseFunc{},
	}
}

// Close lets every call that waits for an operation answer with what there is.
func (o *Operations) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.closed = true
		close(o.changed)
	}
}

// Task is an operation that is not done, as its reconciler sees it.
type Task struct {
	Name     string          // of the operation
	Resource string          // whose reconciler finishes it
	Data     json.RawMessage // what the reconciler needs besides the stored resource
	order    uint64
}

type unfinished struct {
	Resource string          `json:"resource"`
	Order    uint64          `json:"order"`
	Data     json.RawMessage `json:"data,omitempty"`
}

// Update runs fn in a transaction and then tells those who wait for operations
// to look again. Whatever begins or ends an operation goes through it.
func (o *Operations) Update(fn func(*state.Tx) error) error {
	if err := o.store.Update(fn); err != nil {
		return err
	}
	o.announce()
	return nil
}

func (o *Operations) announce() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	close(o.changed)
	o.changed = make(chan struct{})
}

// Begin stores a new operation that resource's reconciler will finish. data may
// be nil.
func (o *Operations) Begin(tx *state.Tx, name, resource string, metadata proto.Message, data any) error {
	packed, err := anypb.New(metadata)
	if err != nil {
		return fmt.Errorf("pack the metadata of %s: %w", name, err)
	}
	order, err := tx.Next(kindUnfinished)
	if err != nil {
		return err
	}
	u := unfinished{Resource: resource, Order: order}
	if data != nil {
		if u.Data, err = json.Marshal(data); err != nil {
			return fmt.Errorf("write down what %s needs: %w", name, err)
		}
	}
	v, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("write down what %s needs: %w", name, err)
	}
	if err := tx.Put(kindUnfinished, name, v); err != nil {
		return err
	}
	return tx.PutMessage(kindOperation, name, &longrunningpb.Operation{Name: name, Metadata: packed})
}

// Succeed ends an operation with its response. metadata replaces what Begin
// stored unless it is nil.
func (o *Operations) Succeed(tx *state.Tx, name string, metadata, response proto.Message) error {
	packed, err := anypb.New(response)
	if err != nil {
		return fmt.Errorf("pack the response of %s: %w", name, err)
	}
	return o.end(tx, name, metadata, func(op *longrunningpb.Operation) {
		op.Result = &longrunningpb.Operation_Response{Response: packed}
	})
}

// Fail ends an operation with an error, which becomes a status.
func (o *Operations) Fail(tx *state.Tx, name string, metadata proto.Message, why error) error {
	return o.end(tx, name, metadata, func(op *longrunningpb.Operation) {
		op.Result = &longrunningpb.Operation_Error{Error: status.Convert(why).Proto()}
	})
}

func (o *Operations) end(tx *state.Tx, name string, metadata proto.Message, set func(*longrunningpb.Operation)) error {
	var op longrunningpb.Operation
	if ok, err := tx.GetMessage(kindOperation, name, &op); err != nil || !ok || op.GetDone() {
		return err // how an operation has ended does not change, and one that is not there has nobody waiting
	}
	if metadata != nil {
		packed, err := anypb.New(metadata)
		if err != nil {
			return fmt.Errorf("pack the metadata of %s: %w", name, err)
		}
		op.Metadata = packed
	}
	op.Done = true
	set(&op)
	if err := tx.Delete(kindUnfinished, name); err != nil {
		return err
	}
	return tx.PutMessage(kindOperation, name, &op)
}

// Unfinished returns the operations of resource that are not done, in the order
// in which they began. An empty resource stands for all.
func (o *Operations) Unfinished(tx *state.Tx, resource string) ([]Task, error) {
	var tasks []Task
	err := tx.Scan(kindUnfinished, "", func(name string, v []byte) error {
		var u unfinished
		if err := json.Unmarshal(v, &u); err != nil {
			return fmt.Errorf("read what %s needs: %w", name, err)
		}
		if resource == "" || u.Resource == resource {
			tasks = append(tasks, Task{Name: name, Resource: u.Resource, Data: u.Data, order: u.Order})
		}
		return nil
	})
	slices.SortFunc(tasks, func(a, b Task) int { return cmp.Compare(a.order, b.order) })
	return tasks, err
}

// Answer returns the operation once it is done, or as it is after Hold.
func (o *Operations) Answer(ctx context.Context, name string) (*longrunningpb.Operation, error) {
	ctx, cancel := context.WithTimeout(ctx, Hold)
	defer cancel()
	return o.wait(ctx, name)
}

// Instant returns an operation that is done and was never stored: the answer to
// a call that only validates.
func Instant(name string, metadata, response proto.Message) (*longrunningpb.Operation, error) {
	m, err := anypb.New(metadata)
	if err != nil {
		return nil, fmt.Errorf("pack the metadata of %s: %w", name, err)
	}
	r, err := anypb.New(response)
	if err != nil {
		return nil, fmt.Errorf("pack the response of %s: %w", name, err)
	}
	return &longrunningpb.Operation{
		Name: name, Metadata: m, Done: true,
		Result: &longrunningpb.Operation_Response{Response: r},
	}, nil
}

// wait returns the operation when it is done or ctx ends, whichever is first.
func (o *Operations) wait(ctx context.Context, name string) (*longrunningpb.Operation, error) {
	for {
		o.mu.Lock()
		changed, closed := o.changed, o.closed
		o.mu.Unlock()
		op, err := o.get(name)
		if err != nil || op.GetDone() || closed {
			return op, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return op, nil
		}
	}
}

func (o *Operations) get(name string) (*longrunningpb.Operation, error) {
	var op longrunningpb.Operation
	var ok bool
	err := o.store.View(func(tx *state.Tx) (err error) {
		ok, err = tx.GetMessage(kindOperation, name, &op)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, status.Errorf(codes.NotFound, "Operation %q was not found", name)
	}
	return &op, nil
}
