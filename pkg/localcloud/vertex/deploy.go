package vertex

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tftctl/tftctl/pkg/localcloud/fleet"
	"github.com/tftctl/tftctl/pkg/localcloud/front"
	"github.com/tftctl/tftctl/pkg/localcloud/ops"
	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// newModel is the key by which a request's split means the model that the
// request deploys.
const newModel = "0"

// DeployModel starts a version of a model behind an endpoint. The endpoint has
// it, and the traffic that the request gives it, once it is ready.
func (s endpointService) DeployModel(ctx context.Context, req *aiplatformpb.DeployModelRequest) (*longrunningpb.Operation, error) {
	if err := checkName(endpointName, "endpoint", req.GetEndpoint(), endpointExample); err != nil {
		return nil, err
	}
	if req.GetDeployedModel() == nil {
		return nil, invalid("deployed_model", "is required")
	}
	stored := proto.CloneOf(req)
	if err := fillResources(stored.DeployedModel); err != nil {
		return nil, err
	}
	opName := ops.VertexName(req.GetEndpoint())
	err := s.Ops.Update(func(tx *state.Tx) error {
		e, err := needEndpoint(tx, req.GetEndpoint())
		if err != nil {
			return err
		}
		if err := fillDeployed(tx, e, stored.DeployedModel); err != nil {
			return err
		}
		id := stored.DeployedModel.Id
		stored.TrafficSplit = named(stored.GetTrafficSplit(), id)
		if err := checkSplit(stored.GetTrafficSplit(), append(deployedIDs(e), id)); err != nil {
			return err
		}
		if err := tx.PutMessage(kindDeploy, opName, stored); err != nil {
			return err
		}
		return s.Ops.Begin(tx, opName, req.GetEndpoint(), &aiplatformpb.DeployModelOperationMetadata{GenericMetadata: generic()}, nil)
	})
	if err != nil {
		return nil, err
	}
	s.reconciler.Kick(opName)
	return s.Ops.Answer(ctx, opName)
}

// named returns the split with the new model's id in place of the key 0.
func named(split map[string]int32, id string) map[string]int32 {
	if percent, ok := split[newModel]; ok {
		split = maps.Clone(split)
		delete(split, newModel)
		split[id] = percent
	}
	return split
}

// fillDeployed resolves the version and gives the deployed model its id.
func fillDeployed(tx *state.Tx, e *aiplatformpb.Endpoint, d *aiplatformpb.DeployedModel) error {
	version, err := resolve(tx, "deployed_model.model", d.GetModel())
	if err != nil {
		return err
	}
	d.Model, d.ModelVersionId = version.GetName(), version.GetVersionId()
	if d.DisplayName == "" {
		shown, err := present(tx, version)
		if err != nil {
			return err
		}
		d.DisplayName = shown.GetDisplayName()
	}
	taken := deployedIDs(e)
	err = tx.Scan(kindDeploy, e.GetName()+"/", func(_ string, v []byte) error {
		var other aiplatformpb.DeployModelRequest
		if err := proto.Unmarshal(v, &other); err != nil {
			return err
		}
		taken = append(taken, other.GetDeployedModel().GetId())
		return nil
	})
	if err != nil {
		return err
	}
	if d.Id == "" {
		for d.Id = ops.Digits(10); slices.Contains(taken, d.Id); {
			d.Id = ops.Digits(10)
		}
	}
	if !deployedID.MatchString(d.Id) || d.Id == newModel {
		return invalid("deployed_model.id", "%q must be 1 to 10 digits and not 0", d.Id)
	}
	if slices.Contains(taken, d.Id) {
		return status.Errorf(codes.AlreadyExists, "The endpoint %q already has a deployed model with the id %s.", e.GetName(), d.Id)
	}
	return nil
}

// deploy waits for the new model's instance and then gives it to the endpoint.
func (s *platform) deploy(ctx context.Context, operation string, req *aiplatformpb.DeployModelRequest) error {
	ctx, release := s.Ops.Cancellable(ctx, operation)
	defer release()
	key, err := s.startDeployed(ctx, req)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		if !errors.Is(cause, ops.ErrCancelled) {
			return nil // stopping: the next start goes on
		}
		err = cause
	}
	if err == nil {
		err = s.commitDeploy(operation, req)
	}
	if err == nil {
		return nil
	}
	s.pool.Retire(key, 0)
	if _, ok := status.FromError(err); !ok {
		err = status.Error(failureCode(err), err.Error())
	}
	return s.Ops.Update(func(tx *state.Tx) error {
		if err := tx.Delete(kindDeploy, operation); err != nil {
			return err
		}
		return s.Ops.Fail(tx, operation, nil, err)
	})
}

func failureCode(err error) codes.Code {
	if errors.Is(err, fleet.ErrFull) {
		return codes.ResourceExhausted
	}
	return codes.FailedPrecondition
}

// startDeployed returns once an instance of the model takes requests, with its
// key in the pool.
func (s *platform) startDeployed(ctx context.Context, req *aiplatformpb.DeployModelRequest) (string, error) {
	var spec fleet.Spec
	err := s.Store.View(func(tx *state.Tx) (err error) {
		spec, err = s.instanceSpec(tx, front.Claimed(tx, req.GetEndpoint()), req.GetEndpoint(), req.GetDeployedModel(), false)
		return err
	})
	if err != nil {
		return "", err
	}
	i, err := s.pool.Need(spec.Name, func() (fleet.Spec, error) { return spec, nil })
	if err != nil {
		return spec.Name, err
	}
	if err := i.WaitReady(ctx); err != nil {
		return spec.Name, status.Errorf(codes.FailedPrecondition, "Model server never became ready. Please validate that your model file or container configuration are valid: %v.", err)
	}
	return spec.Name, nil
}

// commitDeploy gives the endpoint its new model, moves the traffic, and only then
// ends the operation: who sees that it is done sees the traffic moved.
func (s *platform) commitDeploy(operation string, req *aiplatformpb.DeployModelRequest) error {
	d := proto.CloneOf(req.GetDeployedModel())
	err := s.Store.Update(func(tx *state.Tx) error {
		e, err := needEndpoint(tx, req.GetEndpoint())
		if err != nil {
			return err
		}
		if slices.Contains(deployedIDs(e), d.GetId()) {
			return nil // by this operation, before it was cut short
		}
		d.CreateTime = timestamppb.Now()
		e.DeployedModels = append(e.DeployedModels, d)
		if len(req.GetTrafficSplit()) > 0 {
			if err := checkSplit(req.GetTrafficSplit(), deployedIDs(e)); err != nil {
				return status.Errorf(codes.FailedPrecondition, "The endpoint was changed meanwhile: %v.", status.Convert(err).Message())
			}
			e.TrafficSplit = req.GetTrafficSplit()
		}
		e.UpdateTime = timestamppb.Now()
		return putEndpoint(tx, e)
	})
	if err != nil {
		return err
	}
	if _, err := s.sync(req.GetEndpoint()); err != nil {
		return err
	}
	return s.Ops.Update(func(tx *state.Tx) error {
		if err := tx.Delete(kindDeploy, operation); err != nil {
			return err
		}
		return s.Ops.Succeed(tx, operation, nil, &aiplatformpb.DeployModelResponse{DeployedModel: d})
	})
}

// patience is how long a deployed model that nobody can reach any more may
// finish what it has in flight.
const patience = 60 * time.Second

// UndeployModel takes a model from an endpoint. It must have no traffic, or the
// request must take it away.
func (s endpointService) UndeployModel(ctx context.Context, req *aiplatformpb.UndeployModelRequest) (*longrunningpb.Operation, error) {
	name, id := req.GetEndpoint(), req.GetDeployedModelId()
	if err := checkName(endpointName, "endpoint", name, endpointExample); err != nil {
		return nil, err
	}
	var key string
	metadata := &aiplatformpb.UndeployModelOperationMetadata{GenericMetadata: generic()}
	op, err := s.instantly(ctx, name, metadata, func(tx *state.Tx) (proto.Message, error) {
		e, err := needEndpoint(tx, name)
		if err != nil {
			return nil, err
		}
		key = instanceName(front.Claimed(tx, name), id)
		if err := undeploy(e, id, req.GetTrafficSplit()); err != nil {
			return nil, err
		}
		e.UpdateTime = timestamppb.Now()
		return &aiplatformpb.UndeployModelResponse{}, putEndpoint(tx, e)
	})
	if err != nil {
		return nil, err
	}
	if _, err := s.sync(name); err != nil {
		return nil, err
	}
	s.pool.Retire(key, patience)
	return op, nil
}

func undeploy(e *aiplatformpb.Endpoint, id string, split map[string]int32) error {
	i := slices.Index(deployedIDs(e), id)
	if i < 0 {
		return missing("DeployedModel", id)
	}
	e.DeployedModels = slices.Delete(e.DeployedModels, i, i+1)
	switch {
	case len(e.DeployedModels) == 0:
		e.TrafficSplit = nil
	case len(split) > 0:
		if split[id] > 0 {
			return invalid("traffic_split", "%s is to be undeployed and is given %d", id, split[id])
		}
		split = maps.Clone(split)
		delete(split, id)
		if err := checkSplit(split, deployedIDs(e)); err != nil {
			return err
		}
		e.TrafficSplit = split
	case e.TrafficSplit[id] > 0:
		return status.Errorf(codes.FailedPrecondition, "The DeployedModel %s has %d percent of the traffic; move it first or with traffic_split.", id, e.TrafficSplit[id])
	}
	delete(e.TrafficSplit, id)
	return nil
}

// MutateDeployedModel changes how many replicas a deployed model has. One process
// stands for all of them.
func (s endpointService) MutateDeployedModel(ctx context.Context, req *aiplatformpb.MutateDeployedModelRequest) (*longrunningpb.Operation, error) {
	name, id := req.GetEndpoint(), req.GetDeployedModel().GetId()
	if err := checkName(endpointName, "endpoint", name, endpointExample); err != nil {
		return nil, err
	}
	if len(req.GetUpdateMask().GetPaths()) == 0 {
		return nil, invalid("update_mask", "is required")
	}
	metadata := &aiplatformpb.MutateDeployedModelOperationMetadata{GenericMetadata: generic()}
	return s.instantly(ctx, name, metadata, func(tx *state.Tx) (proto.Message, error) {
		e, err := needEndpoint(tx, name)
		if err != nil {
			return nil, err
		}
		i := slices.Index(deployedIDs(e), id)
		if i < 0 {
			return nil, missing("DeployedModel", id)
		}
		d := e.DeployedModels[i]
		for _, path := range req.GetUpdateMask().GetPaths() {
			if err := setDeployedField(d, req.GetDeployedModel(), path); err != nil {
				return nil, err
			}
		}
		if err := checkResources("deployed_model.dedicated_resources", d.GetDedicatedResources()); err != nil {
			return nil, err
		}
		e.UpdateTime = timestamppb.Now()
		return &aiplatformpb.MutateDeployedModelResponse{DeployedModel: d}, putEndpoint(tx, e)
	})
}

func setDeployedField(to, from *aiplatformpb.DeployedModel, path string) error {
	t, f := to.GetDedicatedResources(), from.GetDedicatedResources()
	switch path {
	case "dedicated_resources.min_replica_count":
		t.MinReplicaCount = f.GetMinReplicaCount()
	case "dedicated_resources.max_replica_count":
		t.MaxReplicaCount = f.GetMaxReplicaCount()
	case "dedicated_resources.required_replica_count":
		t.RequiredReplicaCount = f.GetRequiredReplicaCount()
	case "dedicated_resources.autoscaling_metric_specs":
		t.AutoscalingMetricSpecs = f.GetAutoscalingMetricSpecs()
	case "disable_container_logging":
		to.DisableContainerLogging = from.GetDisableContainerLogging()
	default:
		return invalid("update_mask", "%q cannot be changed", path)
	}
	return nil
}
