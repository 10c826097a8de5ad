package vertex

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tftctl/tftctl/pkg/localcloud/ops"
	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

const modelExample = "projects/P/locations/L/models/M, with or without @VERSION or @ALIAS"

// GetModel returns a version of a model: the one named, or the default one.
func (s modelService) GetModel(_ context.Context, req *aiplatformpb.GetModelRequest) (*aiplatformpb.Model, error) {
	var found *aiplatformpb.Model
	err := s.Store.View(func(tx *state.Tx) error {
		version, err := resolve(tx, "name", req.GetName())
		if err != nil {
			return err
		}
		found, err = present(tx, version)
		return err
	})
	return found, err
}

// ListModels returns the default versions of a location's models, the newest
// model first.
func (s modelService) ListModels(_ context.Context, req *aiplatformpb.ListModelsRequest) (*aiplatformpb.ListModelsResponse, error) {
	if err := checkName(locationName, "parent", req.GetParent(), "projects/P/locations/L"); err != nil {
		return nil, err
	}
	wanted, err := parseFilter(req.GetFilter(), "model", "models")
	if err != nil {
		return nil, err
	}
	if req.GetOrderBy() != "" {
		return nil, notServed("order_by")
	}
	var found []*aiplatformpb.Model
	err = s.Store.View(func(tx *state.Tx) error {
		return tx.Scan(kindModel, req.GetParent()+"/models/", func(name string, _ []byte) error {
			version, err := resolve(tx, "name", name)
			if err != nil {
				return err
			}
			m, err := present(tx, version)
			if err != nil {
				return err
			}
			if wanted(m.GetName(), m.GetDisplayName(), m.GetLabels()) {
				found = append(found, m)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(found, func(a, b *aiplatformpb.Model) int {
		return b.GetCreateTime().AsTime().Compare(a.GetCreateTime().AsTime())
	})
	page, next, err := ops.Page(found, (*aiplatformpb.Model).GetName, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	return &aiplatformpb.ListModelsResponse{Models: page, NextPageToken: next}, nil
}

// ListModelVersions returns a model's versions, the newest first. Each is named
// with its number.
func (s modelService) ListModelVersions(_ context.Context, req *aiplatformpb.ListModelVersionsRequest) (*aiplatformpb.ListModelVersionsResponse, error) {
	if err := checkName(modelName, "name", req.GetName(), modelExample); err != nil {
		return nil, err
	}
	wanted, err := parseFilter(req.GetFilter(), "", "")
	if err != nil {
		return nil, err
	}
	if req.GetOrderBy() != "" {
		return nil, notServed("order_by")
	}
	model, _, _ := strings.Cut(req.GetName(), "@")
	var found []*aiplatformpb.Model
	err = s.Store.View(func(tx *state.Tx) error {
		if tx.Get(kindModel, model) == nil {
			return missing("Model", model)
		}
		versions, err := versionsOf(tx, model)
		if err != nil {
			return err
		}
		for _, v := range slices.Backward(versions) {
			m, err := present(tx, v)
			if err != nil {
				return err
			}
			m.Name = model + "@" + m.GetVersionId()
			if wanted(m.GetName(), m.GetDisplayName(), m.GetLabels()) {
				found = append(found, m)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	page, next, err := ops.Page(found, (*aiplatformpb.Model).GetName, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	return &aiplatformpb.ListModelVersionsResponse{Models: page, NextPageToken: next}, nil
}

// UpdateModel changes what all versions share, or with a version in the name
// what is that version's own; never both.
func (s modelService) UpdateModel(_ context.Context, req *aiplatformpb.UpdateModelRequest) (*aiplatformpb.Model, error) {
	name := req.GetModel().GetName()
	if err := checkName(modelName, "model.name", name, modelExample); err != nil {
		return nil, err
	}
	if len(req.GetUpdateMask().GetPaths()) == 0 {
		return nil, invalid("update_mask", "is required")
	}
	model, selector, _ := strings.Cut(name, "@")
	ofVersion := selector != "" && selector != "-"
	var updated *aiplatformpb.Model
	err := s.Store.Update(func(tx *state.Tx) error {
		kind, key := kindModel, model
		version, err := resolve(tx, "model.name", strings.TrimSuffix(name, "@-"))
		if err != nil {
			return err
		}
		if ofVersion {
			kind, key = kindVersion, model+"@"+version.GetVersionId()
		}
		shown, err := present(tx, version)
		if err != nil {
			return err
		}
		if err := checkEtag(req.GetModel().GetEtag(), shown.GetEtag(), name); err != nil {
			return err
		}
		var stored aiplatformpb.Model
		if _, err := tx.GetMessage(kind, key, &stored); err != nil {
			return err
		}
		for _, path := range req.GetUpdateMask().GetPaths() {
			if err := setModelField(&stored, req.GetModel(), path, ofVersion); err != nil {
				return err
			}
		}
		if now := timestamppb.Now(); ofVersion {
			stored.VersionUpdateTime = now
		} else {
			stored.UpdateTime = now
		}
		if err := tx.PutMessage(kind, key, &stored); err != nil {
			return err
		}
		if version, err = resolve(tx, "model.name", model+"@"+version.GetVersionId()); err != nil {
			return err
		}
		updated, err = present(tx, version)
		return err
	})
	return updated, err
}

func setModelField(to, from *aiplatformpb.Model, path string, ofVersion bool) error {
	belongs := map[string]bool{"display_name": false, "description": false, "version_description": true}
	if version, ok := belongs[path]; ok && version != ofVersion {
		return status.Errorf(codes.FailedPrecondition, "update_mask: %s does not belong to what the name %q names", path, from.GetName())
	}
	switch path {
	case "display_name":
		if err := checkDisplayName("model.display_name", from.GetDisplayName()); err != nil {
			return err
		}
		to.DisplayName = from.GetDisplayName()
	case "description":
		to.Description = from.GetDescription()
	case "version_description":
		to.VersionDescription = from.GetVersionDescription()
	case "labels":
		if err := checkLabels("model.labels", from.GetLabels()); err != nil {
			return err
		}
		to.Labels = from.GetLabels()
	default:
		return invalid("update_mask", "%q cannot be updated", path)
	}
	return nil
}

// MergeVersionAliases adds aliases to a version, which takes them from any other,
// and removes those that have a minus before them.
func (s modelService) MergeVersionAliases(_ context.Context, req *aiplatformpb.MergeVersionAliasesRequest) (*aiplatformpb.Model, error) {
	if err := checkName(modelName, "name", req.GetName(), modelExample); err != nil {
		return nil, err
	}
	if !strings.Contains(req.GetName(), "@") {
		return nil, invalid("name", "%q names no version", req.GetName())
	}
	if len(req.GetVersionAliases()) == 0 {
		return nil, invalid("version_aliases", "at least one is required")
	}
	var add, remove []string
	for _, alias := range req.GetVersionAliases() {
		bare, minus := strings.CutPrefix(alias, "-")
		if err := checkAlias("version_aliases", bare); err != nil {
			return nil, err
		}
		if minus {
			remove = append(remove, bare)
		} else {
			add = append(add, bare)
		}
	}
	// An alias that is both added and removed stays as it is.
	both := func(alias string) bool { return slices.Contains(add, alias) && slices.Contains(remove, alias) }
	var updated *aiplatformpb.Model
	err := s.Store.Update(func(tx *state.Tx) error {
		version, err := resolve(tx, "name", req.GetName())
		if err != nil {
			return err
		}
		for _, alias := range remove {
			if both(alias) || !slices.Contains(version.GetVersionAliases(), alias) {
				continue
			}
			if alias == defaultAlias {
				return status.Error(codes.FailedPrecondition, "The alias default can only be moved, by adding it to another version.")
			}
			if err := dropAlias(tx, version, alias); err != nil {
				return err
			}
		}
		for _, alias := range add {
			if both(alias) {
				continue
			}
			if err := moveAlias(tx, version, alias); err != nil {
				return err
			}
		}
		updated, err = present(tx, version)
		return err
	})
	return updated, err
}

// moveAlias gives alias to version and takes it from whichever has it.
func moveAlias(tx *state.Tx, version *aiplatformpb.Model, alias string) error {
	if slices.Contains(version.GetVersionAliases(), alias) {
		return nil
	}
	versions, err := versionsOf(tx, version.GetName())
	if err != nil {
		return err
	}
	for _, other := range versions {
		if slices.Contains(other.GetVersionAliases(), alias) {
			if err := dropAlias(tx, other, alias); err != nil {
				return err
			}
		}
	}
	version.VersionAliases = append(version.VersionAliases, alias)
	return putVersion(tx, version)
}

func dropAlias(tx *state.Tx, version *aiplatformpb.Model, alias string) error {
	version.VersionAliases = slices.DeleteFunc(version.VersionAliases, func(a string) bool { return a == alias })
	return putVersion(tx, version)
}

func putVersion(tx *state.Tx, version *aiplatformpb.Model) error {
	version.VersionUpdateTime = timestamppb.Now()
	return tx.PutMessage(kindVersion, version.GetName()+"@"+version.GetVersionId(), version)
}

// DeleteModel removes a model with all versions, unless one is deployed.
func (s modelService) DeleteModel(ctx context.Context, req *aiplatformpb.DeleteModelRequest) (*longrunningpb.Operation, error) {
	name := req.GetName()
	if err := checkName(modelName, "name", name, "projects/P/locations/L/models/M"); err != nil {
		return nil, err
	}
	if strings.Contains(name, "@") {
		return nil, invalid("name", "%q names a version; DeleteModelVersion deletes those", name)
	}
	return s.instantly(ctx, name, deleteMetadata(), func(tx *state.Tx) (proto.Message, error) {
		if tx.Get(kindModel, name) == nil {
			return nil, missing("Model", name)
		}
		if err := checkUndeployed(tx, name, ""); err != nil {
			return nil, err
		}
		versions, err := versionsOf(tx, name)
		if err != nil {
			return nil, err
		}
		for _, v := range versions {
			if err := deleteVersion(tx, name+"@"+v.GetVersionId()); err != nil {
				return nil, err
			}
		}
		if err := tx.Delete(kindNumber, name); err != nil {
			return nil, err
		}
		return &emptypb.Empty{}, tx.Delete(kindModel, name)
	})
}

// DeleteModelVersion removes a version that is not deployed, not the default one
// and not the only one.
func (s modelService) DeleteModelVersion(ctx context.Context, req *aiplatformpb.DeleteModelVersionRequest) (*longrunningpb.Operation, error) {
	if err := checkName(modelName, "name", req.GetName(), modelExample); err != nil {
		return nil, err
	}
	model, selector, _ := strings.Cut(req.GetName(), "@")
	if selector == "" {
		return nil, invalid("name", "%q names no version", req.GetName())
	}
	return s.instantly(ctx, model, deleteMetadata(), func(tx *state.Tx) (proto.Message, error) {
		version, err := resolve(tx, "name", req.GetName())
		if err != nil {
			return nil, err
		}
		versions, err := versionsOf(tx, model)
		if err != nil {
			return nil, err
		}
		if len(versions) == 1 {
			return nil, status.Errorf(codes.FailedPrecondition, "%q is the only version of its model; delete the model instead.", req.GetName())
		}
		if slices.Contains(version.GetVersionAliases(), defaultAlias) {
			return nil, status.Errorf(codes.FailedPrecondition, "%q is the default version; move the alias default first.", req.GetName())
		}
		if err := checkUndeployed(tx, model, version.GetVersionId()); err != nil {
			return nil, err
		}
		return &emptypb.Empty{}, deleteVersion(tx, model+"@"+version.GetVersionId())
	})
}

func deleteVersion(tx *state.Tx, name string) error {
	return errors.Join(tx.Delete(kindVersion, name), tx.Delete(kindArtifact, name))
}

// checkUndeployed refuses while an endpoint has the model, or that version of it,
// deployed or is about to. An empty version stands for all.
func checkUndeployed(tx *state.Tx, model, version string) error {
	uses := func(d *aiplatformpb.DeployedModel) bool {
		return d.GetModel() == model && (version == "" || d.GetModelVersionId() == version)
	}
	err := tx.Scan(kindEndpoint, "", func(name string, v []byte) error {
		var e aiplatformpb.Endpoint
		if err := proto.Unmarshal(v, &e); err != nil {
			return err
		}
		if i := slices.IndexFunc(e.GetDeployedModels(), uses); i >= 0 {
			return status.Errorf(codes.FailedPrecondition, "The model %q is deployed to the endpoint %q as %s; undeploy it first.", model, name, e.GetDeployedModels()[i].GetId())
		}
		return nil
	})
	if err != nil {
		return err
	}
	return tx.Scan(kindDeploy, "", func(_ string, v []byte) error {
		var d aiplatformpb.DeployModelRequest
		if err := proto.Unmarshal(v, &d); err != nil {
			return err
		}
		if uses(d.GetDeployedModel()) {
			return status.Errorf(codes.FailedPrecondition, "The model %q is being deployed to the endpoint %q.", model, d.GetEndpoint())
		}
		return nil
	})
}

// instantly does something in one transaction and answers with an operation that
// is done.
func (s *platform) instantly(ctx context.Context, resource string, metadata proto.Message, do func(*state.Tx) (proto.Message, error)) (*longrunningpb.Operation, error) {
	name := ops.VertexName(resource)
	err := s.Ops.Update(func(tx *state.Tx) error {
		response, err := do(tx)
		if err != nil {
			return err
		}
		if err := s.Ops.Begin(tx, name, resource, metadata, nil); err != nil {
			return err
		}
		return s.Ops.Succeed(tx, name, nil, response)
	})
	if err != nil {
		return nil, err
	}
	return s.Ops.Answer(ctx, name)
}

// resolve returns the stored version that a name means: by number, by alias, or
// the default one.
func resolve(tx *state.Tx, field, name string) (*aiplatformpb.Model, error) {
	if err := checkName(modelName, field, name, modelExample); err != nil {
		return nil, err
	}
	model, selector, _ := strings.Cut(name, "@")
	if selector == "" {
		selector = defaultAlias
	}
	if tx.Get(kindModel, model) == nil {
		return nil, missing("Model", model)
	}
	if digits.MatchString(selector) {
		var v aiplatformpb.Model
		ok, err := tx.GetMessage(kindVersion, model+"@"+selector, &v)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, missing("Model version", name)
		}
		return &v, nil
	}
	versions, err := versionsOf(tx, model)
	if err != nil {
		return nil, err
	}
	for _, v := range versions {
		if slices.Contains(v.GetVersionAliases(), selector) {
			return v, nil
		}
	}
	return nil, missing("Model version", name)
}

// versionsOf returns the stored versions of a model in the order of their numbers.
func versionsOf(tx *state.Tx, model string) ([]*aiplatformpb.Model, error) {
	var versions []*aiplatformpb.Model
	err := tx.Scan(kindVersion, model+"@", func(_ string, v []byte) error {
		var m aiplatformpb.Model
		if err := proto.Unmarshal(v, &m); err != nil {
			return err
		}
		versions = append(versions, &m)
		return nil
	})
	slices.SortFunc(versions, func(a, b *aiplatformpb.Model) int { return number(a) - number(b) })
	return versions, err
}

func number(version *aiplatformpb.Model) int {
	n, err := strconv.Atoi(version.GetVersionId())
	if err != nil {
		return 0 // never stored: ids come from nextNumber
	}
	return n
}

// present returns a version as callers see it: with what its model adds, both
// their labels, and where it is deployed.
func present(tx *state.Tx, version *aiplatformpb.Model) (*aiplatformpb.Model, error) {
	var model aiplatformpb.Model
	if _, err := tx.GetMessage(kindModel, version.GetName(), &model); err != nil {
		return nil, err
	}
	p := proto.CloneOf(version)
	p.DisplayName, p.Description = model.GetDisplayName(), model.GetDescription()
	p.CreateTime, p.UpdateTime = model.GetCreateTime(), model.GetUpdateTime()
	labels := maps.Clone(model.GetLabels())
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, version.GetLabels())
	p.Labels = labels
	etag, err := stamp(p)
	if err != nil {
		return nil, err
	}
	p.Etag = etag
	err = tx.Scan(kindEndpoint, "", func(name string, v []byte) error {
		var e aiplatformpb.Endpoint
		if err := proto.Unmarshal(v, &e); err != nil {
			return err
		}
		for _, d := range e.GetDeployedModels() {
			if d.GetModel() == version.GetName() && d.GetModelVersionId() == version.GetVersionId() {
				p.DeployedModels = append(p.DeployedModels, &aiplatformpb.DeployedModelRef{Endpoint: name, DeployedModelId: d.GetId()})
			}
		}
		return nil
	})
	return p, err
}
