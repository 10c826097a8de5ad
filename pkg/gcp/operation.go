package gcp

import (
	"context"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/grpc/status"

	"github.com/tftctl/tftctl/pkg/fault"
)

// Operations is what every Google client can tell of its long-running operations.
type Operations interface {
	GetOperation(context.Context, *longrunningpb.GetOperationRequest, ...gax.CallOption) (*longrunningpb.Operation, error)
}

// The pace of polling. The clients' own Wait begins at a second, and a
// rollback has two in all.
const (
	firstPoll   = 20 * time.Millisecond
	slowestPoll = 5 * time.Second
	pollCall    = 10 * time.Second // of one poll
	away        = 30 * time.Second // how long the other side may be unreachable
)

// WaitOperation returns once the operation called name has succeeded, or the
// reason why it failed, as a fault. It polls by name alone, so any process can
// wait for what another one started.
func WaitOperation(ctx context.Context, client Operations, name string) error {
	pause, lastSeen := firstPoll, time.Now()
	for {
		one, cancel := context.WithTimeout(ctx, pollCall)
		op, err := client.GetOperation(one, &longrunningpb.GetOperationRequest{Name: name})
		cancel()
		switch {
		case ctx.Err() != nil:
			return Fault(ctx.Err())
		case err != nil:
			err = Fault(err)
			if k := fault.KindOf(err); k != fault.Unavailable && k != fault.Timeout && k != fault.Limited || time.Since(lastSeen) > away {
				return err
			}
		case op.GetDone():
			return Fault(status.FromProto(op.GetError()).Err())
		default:
			lastSeen = time.Now()
		}
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return Fault(ctx.Err())
		case <-wait.C:
		}
		pause = min(pause*3/2, slowestPoll)
	}
}
