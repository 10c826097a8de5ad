package vertex

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tftctl/tftctl/pkg/localcloud/ops"
	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// artifactBucket is where the copies of what models were uploaded from lie. At
// Google that is a bucket of Google's, which no user can write to.
const artifactBucket = "vertex-ai-artifacts-localcloud"

// UploadModel makes a model with its first version, or a further version of the
// model that parent_model names.
func (s modelService) UploadModel(ctx context.Context, req *aiplatformpb.UploadModelRequest) (*longrunningpb.Operation, error) {
	if err := checkName(locationName, "parent", req.GetParent(), "projects/P/locations/L"); err != nil {
		return nil, err
	}
	if err := checkModel(req.GetModel()); err != nil {
		return nil, err
	}
	name, err := uploadTo(req)
	if err != nil {
		return nil, err
	}
	opName := ops.VertexName(name)
	stored := proto.CloneOf(req)
	stored.Model.Name = name
	err = s.Ops.Update(func(tx *state.Tx) error {
		if err := checkParent(tx, stored); err != nil {
			return err
		}
		if err := tx.PutMessage(kindUpload, opName, stored); err != nil {
			return err
		}
		return s.Ops.Begin(tx, opName, name, &aiplatformpb.UploadModelOperationMetadata{GenericMetadata: generic()}, nil)
	})
	if err != nil {
		return nil, err
	}
	s.reconciler.Kick(opName)
	return s.Ops.Answer(ctx, opName)
}

// uploadTo returns the name of the model that the upload makes or adds to.
func uploadTo(req *aiplatformpb.UploadModelRequest) (string, error) {
	switch {
	case req.GetParentModel() != "" && req.GetModelId() != "":
		return "", invalid("model_id", "cannot be given together with parent_model")
	case req.GetParentModel() != "":
		if err := checkName(modelName, "parent_model", req.GetParentModel(), "projects/P/locations/L/models/M"); err != nil {
			return "", err
		}
		model, _, _ := strings.Cut(req.GetParentModel(), "@")
		if !strings.HasPrefix(model, req.GetParent()+"/") {
			return "", invalid("parent_model", "%q is not in %s", model, req.GetParent())
		}
		return model, nil
	case req.GetModelId() != "":
		if !modelID.MatchString(req.GetModelId()) {
			return "", invalid("model_id", "%q must have at most 63 lowercase letters, digits, underscores and hyphens and begin with neither digit nor hyphen", req.GetModelId())
		}
		return req.GetParent() + "/models/" + req.GetModelId(), nil
	}
	return req.GetParent() + "/models/" + ops.Digits(19), nil
}

// checkParent says whether the model that an upload needs is there, or the one
// that it makes is not.
func checkParent(tx *state.Tx, req *aiplatformpb.UploadModelRequest) error {
	name := req.GetModel().GetName()
	exists := tx.Get(kindModel, name) != nil
	if req.GetParentModel() != "" && !exists {
		return missing("Model", name)
	}
	if req.GetParentModel() == "" && exists {
		return status.Errorf(codes.AlreadyExists, "The model %q already exists; upload a version of it with parent_model.", name)
	}
	return nil
}

// upload copies what the model is made of and then makes the version.
func (s *platform) upload(ctx context.Context, operation string, req *aiplatformpb.UploadModelRequest) error {
	ctx, release := s.Ops.Cancellable(ctx, operation)
	defer release()
	artifact, err := s.snapshot(ctx, operation, req.GetModel().GetArtifactUri())
	if cause := context.Cause(ctx); cause != nil {
		if !errors.Is(cause, ops.ErrCancelled) {
			return nil // stopping: the next start goes on
		}
		err = cause
	}
	if err == nil {
		err = s.commitUpload(operation, req, artifact)
	}
	if err == nil {
		return nil
	}
	return s.Ops.Update(func(tx *state.Tx) error {
		if err := tx.Delete(kindUpload, operation); err != nil {
			return err
		}
		return s.Ops.Fail(tx, operation, nil, err)
	})
}

// snapshot copies the folder that uri names and returns where the copy is. An
// empty uri has none.
func (s *platform) snapshot(ctx context.Context, operation, uri string) (string, error) {
	if uri == "" {
		return "", nil
	}
	bucket, folder, _ := splitGS(uri)
	// The operation's number makes the place: made again after a kill, the copy
	// is the same.
	copied, err := s.Artifacts.CopyPrefix(ctx, bucket, folder, artifactBucket, last(operation))
	if err != nil {
		return "", status.Errorf(codes.InvalidArgument, "model.artifact_uri: %s cannot be read: %v", uri, err)
	}
	if copied == 0 {
		return "", invalid("model.artifact_uri", "there is nothing under %s", uri)
	}
	return "gs://" + artifactBucket + "/" + last(operation), nil
}

func (s *platform) commitUpload(operation string, req *aiplatformpb.UploadModelRequest, artifact string) error {
	return s.Ops.Update(func(tx *state.Tx) error {
		if err := checkParent(tx, req); err != nil {
			return err
		}
		version, err := newVersion(tx, req)
		if err != nil {
			return err
		}
		name := version.GetName() + "@" + version.GetVersionId()
		if artifact != "" {
			if err := tx.Put(kindArtifact, name, []byte(artifact)); err != nil {
				return err
			}
		}
		if err := tx.Delete(kindUpload, operation); err != nil {
			return err
		}
		return s.Ops.Succeed(tx, operation, nil, &aiplatformpb.UploadModelResponse{
			Model: version.GetName(), ModelVersionId: version.GetVersionId(),
		})
	})
}

// newVersion stores a version and, if it is the first, its model.
func newVersion(tx *state.Tx, req *aiplatformpb.UploadModelRequest) (*aiplatformpb.Model, error) {
	now := timestamppb.Now()
	m := proto.CloneOf(req.GetModel())
	name := m.GetName()
	if req.GetParentModel() == "" {
		model := &aiplatformpb.Model{
			Name: name, DisplayName: m.GetDisplayName(), Description: m.GetDescription(),
			CreateTime: now, UpdateTime: now,
		}
		if err := tx.PutMessage(kindModel, name, model); err != nil {
			return nil, err
		}
	}
	id, err := nextNumber(tx, name)
	if err != nil {
		return nil, err
	}
	aliases := m.GetVersionAliases()
	if id == "1" && !slices.Contains(aliases, defaultAlias) {
		aliases = append(aliases, defaultAlias)
	}
	m.VersionId, m.VersionAliases, m.Etag = id, nil, ""
	m.VersionCreateTime, m.VersionUpdateTime = now, now
	m.DisplayName, m.Description, m.DeployedModels = "", "", nil // the model's, not the version's
	m.SupportedDeploymentResourcesTypes = []aiplatformpb.Model_DeploymentResourcesType{aiplatformpb.Model_DEDICATED_RESOURCES}
	m.ModelSourceInfo = &aiplatformpb.ModelSourceInfo{SourceType: aiplatformpb.ModelSourceInfo_CUSTOM}
	if err := putVersion(tx, m); err != nil {
		return nil, err
	}
	for _, alias := range aliases {
		if err := moveAlias(tx, m, alias); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// nextNumber returns a number that no version of the model has had, not even one
// that was deleted.
func nextNumber(tx *state.Tx, model string) (string, error) {
	n := 0
	if v := tx.Get(kindNumber, model); v != nil {
		var err error
		if n, err = strconv.Atoi(string(v)); err != nil {
			return "", err
		}
	}
	id := strconv.Itoa(n + 1)
	return id, tx.Put(kindNumber, model, []byte(id))
}
