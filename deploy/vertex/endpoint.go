// Package vertex is a deploy.Target over a Vertex AI endpoint, and the version
// aliases of a Vertex AI model.
package vertex

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"

	aiplatform "cloud.google.com/go/aiplatform/apiv1"
	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"google.golang.org/api/iterator"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/gcp"
	"github.com/tftctl/tftctl/pkg/model"
)

// Settings are what a deployed model runs with.
type Settings struct {
	MachineType    string            `json:"machine_type"`
	MinReplicas    int               `json:"min_replicas"` // at least 1: the stable API has no scale to zero
	MaxReplicas    int               `json:"max_replicas"`
	ServiceAccount string            `json:"service_account"`
	Labels         map[string]string `json:"labels"`
}

// Check refuses settings that Vertex AI would refuse.
func (c Settings) Check() error {
	switch {
	case c.MachineType == "":
		return fault.Newf(fault.Invalid, "targets.vertex.machine_type is missing").WithHint("such as n1-standard-2")
	case c.MinReplicas < 1 || c.MaxReplicas < c.MinReplicas:
		return fault.Newf(fault.Invalid, "targets.vertex: from %d to %d replicas is no range", c.MinReplicas, c.MaxReplicas).
			WithHint("min_replicas is at least 1: Vertex AI's stable API has no scale to zero")
	}
	return nil
}

// Endpoint is a handle on a Vertex AI endpoint and the model whose versions
// are deployed to it.
type Endpoint struct {
	place    gcp.Endpoint
	id       string
	model    string
	settings Settings

	endpoints   func() (*aiplatform.EndpointClient, error)
	models      func() (*aiplatform.ModelClient, error)
	predictions func() (*aiplatform.PredictionClient, error)
}

var (
	_ deploy.Target = (*Endpoint)(nil)
	_ deploy.Prober = (*Endpoint)(nil)
)

// New returns a handle on the endpoint called id. It cannot fail and costs
// nothing: clients are made by the first call that needs them.
func New(place gcp.Endpoint, id, modelName string, settings Settings) *Endpoint {
	return &Endpoint{
		place: place, id: id, model: modelName, settings: settings,
		endpoints:   client(place, aiplatform.NewEndpointClient),
		models:      client(place, aiplatform.NewModelClient),
		predictions: client(place, aiplatform.NewPredictionClient),
	}
}

// Name implements deploy.Target: vertex/REGION/ENDPOINT.
func (e *Endpoint) Name() string { return "vertex/" + e.place.Region + "/" + e.id }

func (e *Endpoint) resource() string      { return e.place.Parent() + "/endpoints/" + e.id }
func (e *Endpoint) modelResource() string { return e.place.Parent() + "/models/" + e.model }

// The labels by which we know our own. A model version of Vertex AI carries
// our version and release: they are the map from ours to Google's numbers.
const (
	managedBy    = "managed-by"
	us           = "tftctl"
	releaseLabel = "tftctl-release"
	versionLabel = "tftctl-version"
)

// state is endpoint and model as one look found them.
type state struct {
	endpoint *aiplatformpb.Endpoint // nil: there is none
	versions []*aiplatformpb.Model  // of the model; none: there is no model
}

func (e *Endpoint) read(ctx context.Context) (st state, err error) {
	endpoints, err := e.endpoints()
	if err != nil {
		return st, gcp.Fault(err)
	}
	st.endpoint, err = endpoints.GetEndpoint(ctx, &aiplatformpb.GetEndpointRequest{Name: e.resource()})
	if err = gcp.Fault(err); err != nil && fault.KindOf(err) != fault.NotFound {
		return st, err
	}
	st.versions, err = e.listVersions(ctx)
	return st, err
}

func (e *Endpoint) listVersions(ctx context.Context) ([]*aiplatformpb.Model, error) {
	models, err := e.models()
	if err != nil {
		return nil, gcp.Fault(err)
	}
	var versions []*aiplatformpb.Model
	for it := models.ListModelVersions(ctx, &aiplatformpb.ListModelVersionsRequest{Name: e.modelResource()}); ; {
		v, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return versions, nil
		}
		if err = gcp.Fault(err); err != nil {
			if fault.KindOf(err) == fault.NotFound {
				return nil, nil
			}
			return nil, err
		}
		versions = append(versions, v)
	}
}

// Look implements deploy.Target. A release is ready while a deployed model
// carries its ID as display name.
func (e *Endpoint) Look(ctx context.Context) (deploy.Facts, error) {
	st, err := e.read(ctx)
	if err != nil {
		return nil, err
	}
	return st.facts(), nil
}

func (st state) facts() deploy.Facts {
	facts := deploy.Facts{}
	for _, v := range st.versions {
		if id := v.GetLabels()[releaseLabel]; id != "" {
			facts[deploy.ModelFact+" "+id] = deploy.Ready
		}
	}
	if st.endpoint == nil {
		return facts
	}
	facts[deploy.PlaceFact] = deploy.Foreign
	if st.endpoint.GetLabels()[managedBy] == us {
		facts[deploy.PlaceFact] = deploy.Ready
	}
	split := deploy.Split{}
	for _, d := range st.endpoint.GetDeployedModels() {
		if deploy.VersionOf(d.GetDisplayName()) != 0 {
			facts[deploy.ReleaseFact(d.GetDisplayName())] = deploy.Ready
		}
		split[st.nameOf(d.GetId())] += int(st.endpoint.GetTrafficSplit()[d.GetId()])
	}
	facts[deploy.SplitFact] = split.String()
	return facts
}

// nameOf returns who the deployed model called id is to us: its release, or its
// own id where it is somebody else's.
func (st state) nameOf(id string) string {
	for _, d := range st.endpoint.GetDeployedModels() {
		if d.GetId() == id && deploy.VersionOf(d.GetDisplayName()) != 0 {
			return d.GetDisplayName()
		}
	}
	return id
}

// deployedID is nameOf's inverse.
func (st state) deployedID(name string) (string, bool) {
	for _, d := range st.endpoint.GetDeployedModels() {
		if d.GetDisplayName() == name || d.GetId() == name {
			return d.GetId(), true
		}
	}
	return "", false
}

// Start implements deploy.Target.
func (e *Endpoint) Start(ctx context.Context, step deploy.Step) (string, error) {
	st, err := e.read(ctx)
	if err != nil {
		return "", err
	}
	if done, err := step.Expect(st.facts()[step.Fact]); done || err != nil {
		return "", err
	}
	kind, id, _ := strings.Cut(step.Fact, " ")
	switch {
	case kind == deploy.PlaceFact && step.To == deploy.Ready:
		return e.create(ctx)
	case kind == deploy.PlaceFact && step.To == "":
		return e.delete(ctx, st)
	case kind == deploy.ModelFact && step.To == deploy.Ready && step.Release != nil:
		return e.upload(ctx, st, *step.Release)
	case kind == deploy.ModelFact && step.To == "":
		return e.forget(ctx, st, id)
	case kind == deploy.ReleasePrefix && step.To == deploy.Ready && step.Release != nil:
		return e.deploy(ctx, st, *step.Release)
	case kind == deploy.ReleasePrefix && step.To == "":
		return e.undeploy(ctx, st, id)
	case kind == deploy.SplitFact:
		return "", e.share(ctx, st, step.To)
	}
	return "", fault.Newf(fault.Invalid, "%s cannot do %s", e.Name(), step).WithHint("plan again")
}

func (e *Endpoint) create(ctx context.Context) (string, error) {
	endpoints, err := e.endpoints()
	if err != nil {
		return "", gcp.Fault(err)
	}
	op, err := endpoints.CreateEndpoint(ctx, &aiplatformpb.CreateEndpointRequest{
		Parent: e.place.Parent(), EndpointId: e.id,
		Endpoint: &aiplatformpb.Endpoint{DisplayName: e.id, Labels: e.labels()},
	})
	if err != nil {
		return "", gcp.Fault(err)
	}
	return op.Name(), nil
}

func (e *Endpoint) labels() map[string]string {
	labels := map[string]string{}
	maps.Copy(labels, e.settings.Labels)
	labels[managedBy] = us
	return labels
}

func (e *Endpoint) delete(ctx context.Context, st state) (string, error) {
	if st.endpoint.GetLabels()[managedBy] != us {
		return "", fault.Newf(fault.Blocked, "%s was not made by tftctl and is left alone", e.Name())
	}
	endpoints, err := e.endpoints()
	if err != nil {
		return "", gcp.Fault(err)
	}
	op, err := endpoints.DeleteEndpoint(ctx, &aiplatformpb.DeleteEndpointRequest{Name: e.resource()})
	if err != nil {
		return "", gcp.Fault(err)
	}
	return op.Name(), nil
}

// upload makes a version of the model at Vertex AI that holds release r. The
// container's settings are fixed with it, so each release has its own.
func (e *Endpoint) upload(ctx context.Context, st state, r deploy.Release) (string, error) {
	models, err := e.models()
	if err != nil {
		return "", gcp.Fault(err)
	}
	labels := e.labels()
	labels[releaseLabel], labels[versionLabel] = r.ID, strconv.Itoa(int(r.Version))
	req := &aiplatformpb.UploadModelRequest{
		Parent: e.place.Parent(), ServiceAccount: e.settings.ServiceAccount,
		Model: &aiplatformpb.Model{
			DisplayName:        e.model,
			VersionDescription: r.Version.String() + " " + string(r.Model),
			Labels:             labels,
			ArtifactUri:        r.Source,
			ContainerSpec: &aiplatformpb.ModelContainerSpec{
				ImageUri: r.Image,
				Env: []*aiplatformpb.EnvVar{
					{Name: "TFT_MODEL_DIGEST", Value: string(r.Model)}, {Name: "TFT_RELEASE", Value: r.ID},
				},
				Ports:        []*aiplatformpb.Port{{ContainerPort: 8080}},
				PredictRoute: "/predict",
				HealthRoute:  "/health/ready",
			},
		},
	}
	if len(st.versions) > 0 {
		req.ParentModel = e.modelResource()
	} else {
		req.ModelId = e.model
	}
	op, err := models.UploadModel(ctx, req)
	if err != nil {
		return "", gcp.Fault(err)
	}
	return op.Name(), nil
}

// forget removes the model version that holds release id. The last version of
// a model goes with the model.
func (e *Endpoint) forget(ctx context.Context, st state, id string) (string, error) {
	models, err := e.models()
	if err != nil {
		return "", gcp.Fault(err)
	}
	v := st.version(func(v *aiplatformpb.Model) bool { return v.GetLabels()[releaseLabel] == id })
	if len(st.versions) == 1 {
		op, err := models.DeleteModel(ctx, &aiplatformpb.DeleteModelRequest{Name: e.modelResource()})
		if err != nil {
			return "", gcp.Fault(err)
		}
		return op.Name(), nil
	}
	op, err := models.DeleteModelVersion(ctx, &aiplatformpb.DeleteModelVersionRequest{Name: e.modelResource() + "@" + v.GetVersionId()})
	if err != nil {
		return "", gcp.Fault(err)
	}
	return op.Name(), nil
}

// version returns the newest version of the model that fits; nil if none does.
func (st state) version(fits func(*aiplatformpb.Model) bool) *aiplatformpb.Model {
	var newest *aiplatformpb.Model
	for _, v := range st.versions {
		if fits(v) && (newest == nil || number(v) > number(newest)) {
			newest = v
		}
	}
	return newest
}

func number(v *aiplatformpb.Model) int {
	n, err := strconv.Atoi(v.GetVersionId())
	if err != nil {
		return 0
	}
	return n
}

// deploy puts release r on the endpoint, without traffic.
func (e *Endpoint) deploy(ctx context.Context, st state, r deploy.Release) (string, error) {
	v := st.version(func(v *aiplatformpb.Model) bool { return v.GetLabels()[releaseLabel] == r.ID })
	if v == nil {
		return "", fault.Newf(fault.Stale, "%s: the model of release %s is not uploaded", e.Name(), r.ID).WithHint("plan again")
	}
	endpoints, err := e.endpoints()
	if err != nil {
		return "", gcp.Fault(err)
	}
	op, err := endpoints.DeployModel(ctx, &aiplatformpb.DeployModelRequest{
		Endpoint: e.resource(),
		DeployedModel: &aiplatformpb.DeployedModel{
			Model:       e.modelResource() + "@" + v.GetVersionId(),
			DisplayName: r.ID,
			PredictionResources: &aiplatformpb.DeployedModel_DedicatedResources{DedicatedResources: &aiplatformpb.DedicatedResources{
				MachineSpec:     &aiplatformpb.MachineSpec{MachineType: e.settings.MachineType},
				MinReplicaCount: int32(e.settings.MinReplicas), MaxReplicaCount: int32(e.settings.MaxReplicas),
			}},
			ServiceAccount: e.settings.ServiceAccount,
		},
		// No traffic_split: what others have stays as it is, and this one gets none.
	})
	if err != nil {
		return "", gcp.Fault(err)
	}
	return op.Name(), nil
}

func (e *Endpoint) undeploy(ctx context.Context, st state, name string) (string, error) {
	id, ok := st.deployedID(name)
	if !ok {
		return "", fault.Newf(fault.NotFound, "%s has no release %s", e.Name(), name)
	}
	endpoints, err := e.endpoints()
	if err != nil {
		return "", gcp.Fault(err)
	}
	// No traffic_split either: Vertex AI refuses to take away who has traffic.
	op, err := endpoints.UndeployModel(ctx, &aiplatformpb.UndeployModelRequest{Endpoint: e.resource(), DeployedModelId: id})
	if err != nil {
		return "", gcp.Fault(err)
	}
	return op.Name(), nil
}

// share sends the whole split. The etag makes the write conditional on what was read.
func (e *Endpoint) share(ctx context.Context, st state, to string) error {
	split, err := deploy.ParseSplit(to)
	if err != nil {
		return err
	}
	whole := map[string]int32{}
	for _, d := range st.endpoint.GetDeployedModels() {
		if len(split) > 0 { // an empty map says: no traffic at all
			whole[d.GetId()] = 0
		}
	}
	for _, name := range split.Names() {
		id, ok := st.deployedID(name)
		if !ok {
			return fault.Newf(fault.NotFound, "%s has no ready release %s", e.Name(), name).WithHint("`tftctl status` shows what is ready there")
		}
		whole[id] = int32(split[name])
	}
	endpoints, err := e.endpoints()
	if err != nil {
		return gcp.Fault(err)
	}
	_, err = endpoints.UpdateEndpoint(ctx, &aiplatformpb.UpdateEndpointRequest{
		Endpoint:   &aiplatformpb.Endpoint{Name: e.resource(), Etag: st.endpoint.GetEtag(), TrafficSplit: whole},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"traffic_split"}},
	})
	return gcp.Fault(err)
}

// Wait implements deploy.Target.
func (e *Endpoint) Wait(ctx context.Context, step deploy.Step, operation string) error {
	if operation != "" {
		endpoints, err := e.endpoints()
		if err != nil {
			return gcp.Fault(err)
		}
		if err := gcp.WaitOperation(ctx, endpoints, operation); err != nil {
			return err
		}
	}
	return step.Confirm(ctx, e)
}

// Aliases returns which of our versions each alias of the model points to.
// Vertex AI's own "default" is left out: it is not a name of ours.
func (e *Endpoint) Aliases(ctx context.Context) (map[string]model.Version, error) {
	versions, err := e.listVersions(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]model.Version{}
	for _, v := range versions {
		ours, err := model.ParseVersion(v.GetLabels()[versionLabel])
		if err != nil {
			continue // a version that somebody else uploaded
		}
		for _, alias := range v.GetVersionAliases() {
			if alias != "default" {
				out[alias] = ours
			}
		}
	}
	return out, nil
}

// Point moves alias to our version to; 0 removes it. Vertex AI takes an alias
// from the version that has it when another one gets it.
func (e *Endpoint) Point(ctx context.Context, alias string, to model.Version) error {
	versions, err := e.listVersions(ctx)
	if err != nil {
		return err
	}
	st := state{versions: versions}
	fits, change := func(v *aiplatformpb.Model) bool { return v.GetLabels()[versionLabel] == strconv.Itoa(int(to)) }, alias
	if to == 0 {
		fits, change = func(v *aiplatformpb.Model) bool { return hasAlias(v, alias) }, "-"+alias
	}
	v := st.version(fits)
	if v == nil {
		return fault.Newf(fault.NotFound, "Vertex AI has no version of %s that holds %s", e.model, to).WithHint("deploy it first: `tftctl deploy --model %s@%d`", e.model, to)
	}
	models, err := e.models()
	if err != nil {
		return gcp.Fault(err)
	}
	_, err = models.MergeVersionAliases(ctx, &aiplatformpb.MergeVersionAliasesRequest{
		Name: e.modelResource() + "@" + v.GetVersionId(), VersionAliases: []string{change},
	})
	return gcp.Fault(err)
}

func hasAlias(v *aiplatformpb.Model, alias string) bool {
	for _, a := range v.GetVersionAliases() {
		if a == alias {
			return true
		}
	}
	return false
}

// Versions returns Vertex AI's version number of each release's model.
func (e *Endpoint) Versions(ctx context.Context) (map[string]string, error) {
	versions, err := e.listVersions(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, v := range versions {
		if id := v.GetLabels()[releaseLabel]; id != "" {
			out[id] = v.GetVersionId()
		}
	}
	return out, nil
}
