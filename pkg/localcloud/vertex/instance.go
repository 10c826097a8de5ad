package vertex

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"

	"github.com/tftctl/tftctl/pkg/localcloud/fleet"
	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// startTimeout is how long a model may take to get ready unless its container
// says how long.
const startTimeout = 4 * time.Minute

// instanceName is how the fleet and the front call a deployed model: its
// endpoint's route key and its id.
func instanceName(key, id string) string { return key + "/" + id }

// instanceSpec is the process that serves a deployed model: the prediction
// container contract, version 1.0.0. key is its endpoint's route key.
func (s *platform) instanceSpec(tx *state.Tx, key, endpoint string, d *aiplatformpb.DeployedModel, proven bool) (fleet.Spec, error) {
	name := d.GetModel() + "@" + d.GetModelVersionId()
	version, err := resolve(tx, "deployed_model.model", name)
	if err != nil {
		return fleet.Spec{}, err
	}
	c := version.GetContainerSpec()
	predict, health := routes(last(endpoint), d.GetId(), c)
	contract := map[string]string{
		"AIP_ACCELERATOR_TYPE":  "",
		"AIP_DEPLOYED_MODEL_ID": d.GetId(),
		"AIP_ENDPOINT_ID":       last(endpoint),
		"AIP_FRAMEWORK":         "CUSTOM_CONTAINER",
		"AIP_HEALTH_ROUTE":      health,
		"AIP_MACHINE_TYPE":      d.GetDedicatedResources().GetMachineSpec().GetMachineType(),
		"AIP_MODE":              "PREDICTION",
		"AIP_MODE_VERSION":      "1.0.0",
		"AIP_MODEL_NAME":        last(endpoint),
		"AIP_PREDICT_ROUTE":     predict,
		"AIP_PROJECT_NUMBER":    s.ProjectNumber(strings.Split(endpoint, "/")[1]),
		"AIP_STORAGE_URI":       string(tx.Get(kindArtifact, name)),
		"AIP_VERSION_NAME":      d.GetId(),
	}
	if m := d.GetDedicatedResources().GetMachineSpec(); m.GetAcceleratorCount() > 0 {
		contract["AIP_ACCELERATOR_TYPE"] = m.GetAcceleratorType().String()
	}
	spec := fleet.Spec{
		Name: instanceName(key, d.GetId()),
		Kind: "vertex",
		Args: c.GetArgs(),
		Env: func(port int) []string {
			contract := contractAt(contract, port)
			return append(expand(c.GetEnv(), contract), list(contract)...)
		},
		Start:  startProbe(c),
		Ready:  healthProbe(c, health),
		Live:   liveProbe(c),
		Proven: proven,
	}
	return spec, nil
}

// routes are the paths of predictions and of health checks.
func routes(endpoint, id string, c *aiplatformpb.ModelContainerSpec) (predict, health string) {
	standard := "/v1/endpoints/" + endpoint + "/deployedModels/" + id
	return cmp.Or(c.GetPredictRoute(), standard+":predict"), cmp.Or(c.GetHealthRoute(), standard)
}

// predictPath is where a deployed model takes predictions.
func predictPath(tx *state.Tx, endpoint string, d *aiplatformpb.DeployedModel) (string, error) {
	version, err := resolve(tx, "deployed_model.model", d.GetModel()+"@"+d.GetModelVersionId())
	if err != nil {
		return "", err
	}
	path, _ := routes(last(endpoint), d.GetId(), version.GetContainerSpec())
	return path, nil
}

func contractAt(contract map[string]string, port int) map[string]string {
	at := map[string]string{"AIP_HTTP_PORT": strconv.Itoa(port)}
	for name, value := range contract {
		at[name] = value
	}
	return at
}

func list(vars map[string]string) []string {
	var env []string
	for name, value := range vars {
		env = append(env, name+"="+value)
	}
	return env
}

// expand returns the user's variables with $(NAME) replaced by what stands
// before: the contract's variables and the user's earlier ones. $$ is a dollar,
// and a name that nobody has set stays as it is written.
func expand(vars []*aiplatformpb.EnvVar, contract map[string]string) []string {
	known := make(map[string]string, len(contract)+len(vars))
	for name, value := range contract {
		known[name] = value
	}
	var env []string
	for _, v := range vars {
		value := expandOne(v.GetValue(), known)
		known[v.GetName()] = value
		env = append(env, v.GetName()+"="+value)
	}
	return env
}

func expandOne(value string, known map[string]string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(value, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		value = rest
		if after, ok := strings.CutPrefix(rest, "$"); ok {
			out.WriteByte('$')
			value = after
			continue
		}
		name, after, closed := strings.Cut(strings.TrimPrefix(rest, "("), ")")
		if replacement, ok := known[name]; ok && closed && strings.HasPrefix(rest, "(") {
			out.WriteString(replacement)
			value = after
			continue
		}
		out.WriteByte('$')
	}
}

func startProbe(c *aiplatformpb.ModelContainerSpec) fleet.Probe {
	if c.GetStartupProbe() != nil {
		return *probe(c.GetStartupProbe())
	}
	timeout := cmp.Or(c.GetDeploymentTimeout().AsDuration(), startTimeout)
	return fleet.Probe{Timeout: timeout, Period: timeout, Failures: 1}
}

// healthProbe asks the health route every ten seconds and takes the instance out
// of the rotation after four failures.
func healthProbe(c *aiplatformpb.ModelContainerSpec, route string) *fleet.Probe {
	if c.GetHealthProbe() != nil {
		return probe(c.GetHealthProbe())
	}
	return &fleet.Probe{Path: route, Timeout: 10 * time.Second, Period: 10 * time.Second, Failures: 4, Patience: cmp.Or(c.GetDeploymentTimeout().AsDuration(), startTimeout)}
}

// liveProbe restarts an instance whose port does not open in four attempts.
func liveProbe(c *aiplatformpb.ModelContainerSpec) *fleet.Probe {
	if c.GetLivenessProbe() != nil {
		return probe(c.GetLivenessProbe())
	}
	return &fleet.Probe{Timeout: 10 * time.Second, Period: 10 * time.Second, Failures: 4}
}

func probe(p *aiplatformpb.Probe) *fleet.Probe {
	seconds := func(n, otherwise int32) time.Duration { return time.Duration(cmp.Or(n, otherwise)) * time.Second }
	asks := &fleet.Probe{
		Delay: seconds(p.GetInitialDelaySeconds(), 0), Timeout: seconds(p.GetTimeoutSeconds(), 1),
		Period: seconds(p.GetPeriodSeconds(), 10), Failures: int(cmp.Or(p.GetFailureThreshold(), 3)),
	}
	if h := p.GetHttpGet(); h != nil {
		asks.Path = cmp.Or(h.GetPath(), "/")
		asks.Headers = http.Header{}
		for _, header := range h.GetHttpHeaders() {
			asks.Headers.Add(header.GetName(), header.GetValue())
		}
	}
	return asks
}
