package vertex

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// The limits are Google's.
const (
	mostDisplayName = 128
	mostLabel       = 64
	mostAlias       = 128
	mostDeployment  = 2 * time.Hour
)

const defaultAlias = "default"

var (
	locationName   = regexp.MustCompile(`^projects/[a-z0-9:.-]+/locations/[a-z0-9-]+$`)
	modelName      = regexp.MustCompile(`^projects/[a-z0-9:.-]+/locations/[a-z0-9-]+/models/[a-z0-9_-]+(@[a-zA-Z0-9-]+)?$`)
	endpointName   = regexp.MustCompile(`^projects/[a-z0-9:.-]+/locations/[a-z0-9-]+/endpoints/[a-z0-9-]+$`)
	modelID        = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,62}$`)
	endpointWord   = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	endpointDigits = regexp.MustCompile(`^[0-9]{1,10}$`)
	deployedID     = regexp.MustCompile(`^[0-9]{1,10}$`)
	aliasForm      = regexp.MustCompile(`^[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]$`)
	labelForm      = regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}_-]*$`)
	envName        = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	digits         = regexp.MustCompile(`^[0-9]+$`)
)

// notServed is a setting that Google has and that would change what runs, while
// the local cloud would run the same.
func notServed(field string) error {
	return status.Errorf(codes.Unimplemented, "%s is not served by the local cloud", field)
}

func invalid(field, format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, "%s: %s", field, fmt.Sprintf(format, args...))
}

func missing(what, name string) error {
	return status.Errorf(codes.NotFound, "The %s %q does not exist.", what, name)
}

func checkName(form *regexp.Regexp, field, name, example string) error {
	if !form.MatchString(name) {
		return invalid(field, "%q is not of the form %s", name, example)
	}
	return nil
}

func checkDisplayName(at, name string) error {
	if n := utf8.RuneCountInString(name); n == 0 || n > mostDisplayName {
		return invalid(at, "must have 1 to %d characters, not %d", mostDisplayName, n)
	}
	return nil
}

func checkLabels(at string, labels map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		value := labels[key]
		if key == "" || utf8.RuneCountInString(key) > mostLabel || utf8.RuneCountInString(value) > mostLabel ||
			!labelForm.MatchString(key) || !labelForm.MatchString(value) {
			return invalid(at, "%q=%q: keys and values have at most %d lowercase letters, digits, underscores and hyphens", key, value, mostLabel)
		}
	}
	return nil
}

func checkAlias(at, alias string) error {
	if len(alias) > mostAlias || !aliasForm.MatchString(alias) {
		return invalid(at, "%q must begin with a lowercase letter, end in a lowercase letter or digit, have letters, digits and hyphens between, and at most %d of them", alias, mostAlias)
	}
	return nil
}

// checkModel says what is wrong with a model to be uploaded.
func checkModel(m *aiplatformpb.Model) error {
	if m == nil {
		return invalid("model", "is required")
	}
	if err := checkDisplayName("model.display_name", m.GetDisplayName()); err != nil {
		return err
	}
	if err := checkLabels("model.labels", m.GetLabels()); err != nil {
		return err
	}
	for _, alias := range m.GetVersionAliases() {
		if err := checkAlias("model.version_aliases", alias); err != nil {
			return err
		}
	}
	if uri := m.GetArtifactUri(); uri != "" {
		if bucket, _, ok := splitGS(uri); !ok || bucket == "" {
			return invalid("model.artifact_uri", "%q is not of the form gs://BUCKET/FOLDER", uri)
		}
	}
	return checkContainer("model.container_spec", m.GetContainerSpec())
}

func checkContainer(at string, c *aiplatformpb.ModelContainerSpec) error {
	if c.GetImageUri() == "" {
		return invalid(at+".image_uri", "is required")
	}
	if len(c.GetCommand()) > 0 {
		return notServed(at + ".command")
	}
	if len(c.GetGrpcPorts()) > 0 {
		return notServed(at + ".grpc_ports")
	}
	if c.GetInvokeRoutePrefix() != "" {
		return notServed(at + ".invoke_route_prefix")
	}
	seen := map[string]bool{}
	for _, v := range c.GetEnv() {
		switch name := v.GetName(); {
		case !envName.MatchString(name):
			return invalid(at+".env", "%q is no name of a variable", name)
		case strings.HasPrefix(name, "AIP_"):
			return invalid(at+".env", "%s: names that begin with AIP_ are reserved", name)
		case seen[name]:
			return invalid(at+".env", "%s is given twice", name)
		}
		seen[v.GetName()] = true
	}
	for _, p := range c.GetPorts() {
		if p.GetContainerPort() < 1 || p.GetContainerPort() > 65535 {
			return invalid(at+".ports", "%d is no port", p.GetContainerPort())
		}
	}
	for field, route := range map[string]string{"predict_route": c.GetPredictRoute(), "health_route": c.GetHealthRoute()} {
		if route != "" && !strings.HasPrefix(route, "/") {
			return invalid(at+"."+field, "%q must begin with a slash", route)
		}
	}
	if d := c.GetDeploymentTimeout().AsDuration(); d < 0 || d > mostDeployment {
		return invalid(at+".deployment_timeout", "%s is over %s", d, mostDeployment)
	}
	for field, p := range map[string]*aiplatformpb.Probe{
		"startup_probe": c.GetStartupProbe(), "health_probe": c.GetHealthProbe(), "liveness_probe": c.GetLivenessProbe(),
	} {
		if p.GetExec() != nil || p.GetGrpc() != nil {
			return notServed(at + "." + field + " other than http_get and tcp_socket")
		}
	}
	return nil
}

func checkEndpoint(id string, e *aiplatformpb.Endpoint) error {
	if id != "" && !endpointWord.MatchString(id) && !endpointDigits.MatchString(id) {
		return invalid("endpoint_id", "%q must begin with a letter and have at most 63 lowercase letters, digits and hyphens, or be at most 10 digits", id)
	}
	if e == nil {
		return invalid("endpoint", "is required")
	}
	switch {
	case e.GetDedicatedEndpointEnabled():
		return notServed("endpoint.dedicated_endpoint_enabled")
	case e.GetNetwork() != "" || e.GetPrivateServiceConnectConfig() != nil:
		return notServed("endpoint: private access")
	case len(e.GetTrafficSplit()) > 0 || len(e.GetDeployedModels()) > 0:
		return invalid("endpoint", "a new endpoint has no deployed models and no traffic_split")
	}
	if err := checkDisplayName("endpoint.display_name", e.GetDisplayName()); err != nil {
		return err
	}
	return checkLabels("endpoint.labels", e.GetLabels())
}

// checkSplit says what is wrong with a split over the deployed models with those
// ids. An empty one is right: the endpoint refuses requests.
func checkSplit(split map[string]int32, deployed []string) error {
	if len(split) == 0 {
		return nil
	}
	sum := int32(0)
	for _, id := range slices.Sorted(maps.Keys(split)) {
		if !slices.Contains(deployed, id) {
			return invalid("traffic_split", "no DeployedModel has the id %q", id)
		}
		if split[id] < 0 || split[id] > 100 {
			return invalid("traffic_split", "%d for %s is not within 0 and 100", split[id], id)
		}
		sum += split[id]
	}
	if sum != 100 {
		return invalid("traffic_split", "the percentages add up to %d, not to 100", sum)
	}
	return nil
}

// fillResources sets what Google sets where a caller has left it open, and says
// what is wrong with the rest.
func fillResources(d *aiplatformpb.DeployedModel) error {
	const at = "deployed_model.dedicated_resources"
	r := d.GetDedicatedResources()
	if r == nil {
		if d.GetPredictionResources() == nil {
			return invalid(at, "is required")
		}
		return notServed("deployed_model.prediction_resources other than dedicated_resources")
	}
	if r.MachineSpec == nil {
		r.MachineSpec = &aiplatformpb.MachineSpec{}
	}
	if r.MachineSpec.MachineType == "" {
		r.MachineSpec.MachineType = "n1-standard-2"
	}
	if r.MaxReplicaCount == 0 {
		r.MaxReplicaCount = r.MinReplicaCount
	}
	if r.RequiredReplicaCount == 0 {
		r.RequiredReplicaCount = r.MinReplicaCount
	}
	return checkResources(at, r)
}

func checkResources(at string, r *aiplatformpb.DedicatedResources) error {
	switch {
	case r.GetMinReplicaCount() < 1:
		return invalid(at+".min_replica_count", "%d must be at least 1", r.GetMinReplicaCount())
	case r.GetMaxReplicaCount() < r.GetMinReplicaCount():
		return invalid(at+".max_replica_count", "%d is under min_replica_count, which is %d", r.GetMaxReplicaCount(), r.GetMinReplicaCount())
	case r.GetRequiredReplicaCount() < 1 || r.GetRequiredReplicaCount() > r.GetMinReplicaCount():
		return invalid(at+".required_replica_count", "%d is not within 1 and min_replica_count, which is %d", r.GetRequiredReplicaCount(), r.GetMinReplicaCount())
	}
	seen := map[string]bool{}
	for _, m := range r.GetAutoscalingMetricSpecs() {
		if seen[m.GetMetricName()] {
			return invalid(at+".autoscaling_metric_specs", "%s is given twice", m.GetMetricName())
		}
		seen[m.GetMetricName()] = true
		if m.GetTarget() == 0 {
			m.Target = 60
		}
	}
	return nil
}

// checkEtag refuses a caller who has seen an older state. An empty one means
// that the caller does not mind.
func checkEtag(given, current, name string) error {
	if given != "" && given != current {
		return status.Errorf(codes.Aborted, "Etag %s of %q is not the current one, %s. Read it again.", given, name, current)
	}
	return nil
}

// stamp returns the etag that follows from a message's content.
func stamp(m proto.Message) (string, error) {
	v, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(v)
	return hex.EncodeToString(sum[:8]), nil
}

// splitGS returns the bucket and the folder of a gs:// URI.
func splitGS(uri string) (bucket, folder string, ok bool) {
	rest, ok := strings.CutPrefix(uri, "gs://")
	if !ok {
		return "", "", false
	}
	bucket, folder, _ = strings.Cut(rest, "/")
	return bucket, strings.Trim(folder, "/"), true
}
