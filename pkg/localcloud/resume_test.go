package localcloud_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/tftctl/tftctl/pkg/localcloud/fleet/fleettest"
)

func TestUnfinishedDeploymentGoesOnAndCanBeCancelled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := open(t, dir)
	upload(t, c, &aiplatformpb.UploadModelRequest{Parent: region, ModelId: "forecast", Model: &aiplatformpb.Model{
		DisplayName: "forecast", ContainerSpec: container("/predict", fleettest.Deaf+"=1"),
	}})
	e := newEndpoint(t, c, "forecasts")
	op, err := c.endpoints.DeployModel(t.Context(), &aiplatformpb.DeployModelRequest{
		Endpoint: e, TrafficSplit: map[string]int32{"0": 100},
		DeployedModel: &aiplatformpb.DeployedModel{Model: model, PredictionResources: &aiplatformpb.DeployedModel_DedicatedResources{
			DedicatedResources: &aiplatformpb.DedicatedResources{MinReplicaCount: 1},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if op.Done() || !strings.HasPrefix(op.Name(), e+"/operations/") {
		t.Fatalf("operation %s is done=%v", op.Name(), op.Done())
	}
	if _, err := c.endpoints.DeleteEndpoint(t.Context(), &aiplatformpb.DeleteEndpointRequest{Name: e}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("deleting the endpoint meanwhile ended with %v", err)
	}
	if _, err := c.models.DeleteModel(t.Context(), &aiplatformpb.DeleteModelRequest{Name: model}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("deleting the model meanwhile ended with %v", err)
	}
	c.stop()

	c = open(t, dir)
	resumed := c.endpoints.DeployModelOperation(op.Name())
	if _, err := resumed.Poll(t.Context()); err != nil || resumed.Done() {
		t.Fatalf("after the restart it is done=%v, %v", resumed.Done(), err)
	}
	if err := c.endpoints.CancelOperation(t.Context(), &longrunningpb.CancelOperationRequest{Name: op.Name()}); err != nil {
		t.Fatal(err)
	}
	got, err := c.endpoints.WaitOperation(t.Context(), &longrunningpb.WaitOperationRequest{Name: op.Name()})
	if err != nil || !got.GetDone() || codes.Code(got.GetError().GetCode()) != codes.Canceled {
		t.Errorf("after the cancellation it is %v, %v", got, err)
	}
	if now, err := c.endpoints.GetEndpoint(t.Context(), &aiplatformpb.GetEndpointRequest{Name: e}); err != nil || len(now.GetDeployedModels()) != 0 {
		t.Errorf("the endpoint has %v, %v", now.GetDeployedModels(), err)
	}
}

func TestNoPredictionFailsWhileTheSplitMoves(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	uploadTwo(t, c)
	e := newEndpoint(t, c, "forecasts")
	one := mustDeploy(t, c, e, model+"@1", map[string]int32{"0": 100})

	ctx, cancel := context.WithCancel(t.Context())
	var requests, failed atomic.Int64
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				_, err := c.predict.Predict(context.WithoutCancel(ctx), &aiplatformpb.PredictRequest{
					Endpoint: e, Instances: []*structpb.Value{structpb.NewStructValue(&structpb.Struct{})},
				})
				requests.Add(1)
				if err != nil {
					failed.Add(1)
					t.Error(err)
				}
			}
		})
	}
	two := mustDeploy(t, c, e, model+"@2", map[string]int32{one.GetId(): 90, "0": 10})
	for _, percent := range []int32{50, 100} {
		if err := setSplit(t, c, e, map[string]int32{one.GetId(): 100 - percent, two.GetId(): percent}); err != nil {
			t.Fatal(err)
		}
	}
	op, err := c.endpoints.UndeployModel(t.Context(), &aiplatformpb.UndeployModelRequest{Endpoint: e, DeployedModelId: one.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancel()
	callers.Wait()
	if failed.Load() != 0 || requests.Load() < 20 {
		t.Errorf("%d of %d predictions failed", failed.Load(), requests.Load())
	}
	t.Logf("%d predictions", requests.Load())
}
