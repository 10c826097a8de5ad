package cloudrun

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/pkg/fault"
)

// Settings are what a revision runs with. All are sent always: what is left
// out has other defaults in each of Google's tools.
type Settings struct {
	CPU             int               `json:"cpu"`
	Memory          string            `json:"memory"`   // such as 2GiB
	CPUIdle         bool              `json:"cpu_idle"` // CPU only while requests are served
	StartupCPUBoost bool              `json:"startup_cpu_boost"`
	Concurrency     int               `json:"concurrency"` // requests in one instance at a time
	Timeout         time.Duration     `json:"timeout"`
	MinInstances    int               `json:"min_instances"`
	MaxInstances    int               `json:"max_instances"`
	Ingress         string            `json:"ingress"` // all, internal, internal-and-cloud-load-balancing
	ServiceAccount  string            `json:"service_account"`
	ExecutionGen1   bool              `json:"execution_gen1"` // gVisor instead of a microVM
	Labels          map[string]string `json:"labels"`
}

// containerPort is where the container listens. Cloud Run says so in PORT.
const containerPort = 8080

var ingress = map[string]runpb.IngressTraffic{
	"all":                               runpb.IngressTraffic_INGRESS_TRAFFIC_ALL,
	"internal":                          runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_ONLY,
	"internal-and-cloud-load-balancing": runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER,
}

// Limits on names, checked before anything is sent. Source: Cloud Run's
// service_id and revision naming rules, google.cloud.run.v2; a tag and its
// service share one DNS label with two separators.
const (
	longestRevision      = 63
	longestTagAndService = 46
	attemptSuffix        = len("-99")
)

// CheckNames refuses what Cloud Run would refuse about the names of release id.
func (s *Service) CheckNames(id string) error {
	if n := len(s.id) + len(id); n > longestTagAndService {
		return fault.Newf(fault.Invalid, "service %s and tag %s are %d characters together, at most %d fit into an address", s.id, id, n, longestTagAndService).
			WithHint("shorten targets.cloud_run.service in tftctl.yaml")
	}
	if n := len(s.id) + 1 + len(id) + attemptSuffix; n > longestRevision {
		return fault.Newf(fault.Invalid, "a revision of service %s would have a name of %d characters, more than %d", s.id, n, longestRevision).
			WithHint("shorten targets.cloud_run.service in tftctl.yaml")
	}
	return nil
}

// service returns the service that begins with template.
func (c Settings) service(template *runpb.RevisionTemplate, id string) *runpb.Service {
	return &runpb.Service{
		Labels:   c.labels(),
		Ingress:  ingress[c.Ingress],
		Template: template,
		Traffic: []*runpb.TrafficTarget{{
			Type:     runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION,
			Revision: template.GetRevision(), Percent: 100, Tag: id,
		}},
	}
}

func (c Settings) labels() map[string]string {
	labels := map[string]string{managedBy: us}
	maps.Copy(labels, c.Labels)
	labels[managedBy] = us
	return labels
}

// The routes of tftserve. Google's front end keeps /healthz for itself.
const (
	predictRoute = "/predict"
	startupRoute = "/health/startup"
	liveRoute    = "/health/live"
)

// template returns the revision called name for release r.
func (c Settings) template(name string, r deploy.Release) *runpb.RevisionTemplate {
	labels := c.labels()
	labels[releaseLabel] = r.ID
	env := func(name, value string) *runpb.EnvVar {
		return &runpb.EnvVar{Name: name, Values: &runpb.EnvVar_Value{Value: value}}
	}
	execution := runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2
	if c.ExecutionGen1 {
		execution = runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1
	}
	return &runpb.RevisionTemplate{
		Revision: name,
		Labels:   labels,
		Scaling:  &runpb.RevisionScaling{MinInstanceCount: int32(c.MinInstances), MaxInstanceCount: int32(c.MaxInstances)},
		Timeout:  durationpb.New(c.Timeout),
		Containers: []*runpb.Container{{
			Image: r.Image,
			Env: []*runpb.EnvVar{
				env("TFT_MODEL", r.Source), env("TFT_MODEL_DIGEST", string(r.Model)), env("TFT_RELEASE", r.ID),
			},
			Ports: []*runpb.ContainerPort{{Name: "http1", ContainerPort: containerPort}},
			Resources: &runpb.ResourceRequirements{
				Limits:  map[string]string{"cpu": strconv.Itoa(c.CPU), "memory": kubernetesSize(c.Memory)},
				CpuIdle: c.CPUIdle, StartupCpuBoost: c.StartupCPUBoost,
			},
			// Ten probes a second for the first seconds would cost more than they
			// tell: one second is the shortest period there is.
			StartupProbe:  probe(startupRoute, 1, 120),
			LivenessProbe: probe(liveRoute, 10, 3),
		}},
		ServiceAccount:                c.ServiceAccount,
		ExecutionEnvironment:          execution,
		MaxInstanceRequestConcurrency: int32(c.Concurrency),
	}
}

func probe(path string, period, failures int32) *runpb.Probe {
	return &runpb.Probe{
		TimeoutSeconds: 1, PeriodSeconds: period, FailureThreshold: failures,
		ProbeType: &runpb.Probe_HttpGet{HttpGet: &runpb.HTTPGetAction{Path: path, Port: containerPort}},
	}
}

// kubernetesSize turns 2GiB, as tftctl.yaml has it, into 2Gi, as Cloud Run has it.
func kubernetesSize(s string) string {
	if n := len(s); n > 2 && s[n-2:] == "iB" {
		return s[:n-1]
	}
	return s
}

// Check refuses settings that Cloud Run would refuse. Source: Cloud Run's
// documentation on CPU and memory limits and on concurrency.
func (c Settings) Check() error {
	bad := func(field, format string, args ...any) error {
		return fault.Newf(fault.Invalid, "targets.cloud_run.%s: %s", field, fmt.Sprintf(format, args...)).
			WithHint("change it in tftctl.yaml; these are Cloud Run's own limits")
	}
	switch {
	case c.CPU != 1 && c.CPU != 2 && c.CPU != 4 && c.CPU != 6 && c.CPU != 8:
		return bad("cpu", "%d is none of 1, 2, 4, 6, 8", c.CPU)
	case c.Concurrency < 1 || c.Concurrency > 1000:
		return bad("concurrency", "%d is not between 1 and 1000", c.Concurrency)
	case c.Timeout < time.Second || c.Timeout > time.Hour:
		return bad("timeout", "%s is not between 1s and 60m", c.Timeout)
	case c.MinInstances < 0 || c.MaxInstances < 1 || c.MinInstances > c.MaxInstances:
		return bad("max_instances", "from %d to %d instances is no range", c.MinInstances, c.MaxInstances)
	case ingress[c.Ingress] == 0:
		return bad("ingress", "%q is none of all, internal, internal-and-cloud-load-balancing", c.Ingress)
	}
	return c.checkMemory(bad)
}

func (c Settings) checkMemory(bad func(field, format string, args ...any) error) error {
	var n int
	var unit string
	if _, err := fmt.Sscanf(c.Memory, "%d%s", &n, &unit); err != nil || unit != "GiB" && unit != "MiB" {
		return bad("memory", "%q is no size such as 512MiB or 2GiB", c.Memory)
	}
	mib := n
	if unit == "GiB" {
		mib = n * 1024
	}
	least := map[int]int{1: 512, 2: 512, 4: 2048, 6: 4096, 8: 4096}[c.CPU]
	if largest := min(c.CPU*4, 32) * 1024; mib < least || mib > largest {
		return bad("memory", "%s does not go with %d CPU: from %dMiB to %dMiB", c.Memory, c.CPU, least, largest)
	}
	return nil
}
