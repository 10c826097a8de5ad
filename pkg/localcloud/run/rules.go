package run

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/genproto/googleapis/api"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// The limits are Google's.
const (
	mostServiceID    = 49
	mostRevisionName = 63
	mostTagAndName   = 46
	mostDescription  = 512
	mostEnvValue     = 32768
	mostConcurrency  = 1000
	mostTimeout      = time.Hour
	mostStart        = 240 // seconds that an instance may take to start
)

const (
	latest = runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST
	named  = runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
)

var (
	serviceID   = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)
	revisionID  = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)
	trafficTag  = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)
	envName     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	reservedEnv = []string{"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}
	reservedKey = regexp.MustCompile(`(^|\.)(run\.googleapis\.com|cloud\.googleapis\.com|serving\.knative\.dev|autoscaling\.knative\.dev)/`)
)

// notServed is a setting that Google has and that would change what runs, while
// the local cloud would run the same.
func notServed(field string) error {
	return status.Errorf(codes.Unimplemented, "%s is not served by the local cloud", field)
}

func invalid(field, format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, "%s: %s", field, fmt.Sprintf(format, args...))
}

func checkServiceID(id string) error {
	if !serviceID.MatchString(id) || len(id) > mostServiceID {
		return invalid("service_id", "%q must be at most %d lowercase letters, digits and hyphens, begin with a letter and not end in a hyphen", id, mostServiceID)
	}
	return nil
}

// checkService says what is wrong with a service whose defaults are filled in.
func checkService(id string, s *runpb.Service) error {
	if len([]rune(s.GetDescription())) > mostDescription {
		return invalid("service.description", "is over %d characters", mostDescription)
	}
	for _, keys := range []struct {
		field string
		has   map[string]string
	}{
		{"service.labels", s.GetLabels()},
		{"service.annotations", s.GetAnnotations()},
		{"service.template.labels", s.GetTemplate().GetLabels()},
		{"service.template.annotations", s.GetTemplate().GetAnnotations()},
	} {
		for _, key := range slices.Sorted(maps.Keys(keys.has)) {
			if reservedKey.MatchString(key) {
				return invalid(keys.field, "the namespace of %q is reserved", key)
			}
		}
	}
	if sc := s.GetScaling(); sc.GetMinInstanceCount() < 0 || sc.GetMaxInstanceCount() < 0 || sc.GetManualInstanceCount() < 0 {
		return invalid("service.scaling", "a count is negative")
	}
	if s.GetIngress() == runpb.IngressTraffic_INGRESS_TRAFFIC_NONE {
		return notServed("service.ingress INGRESS_TRAFFIC_NONE")
	}
	return checkTemplate(id, s.GetTemplate())
}

func checkTemplate(id string, t *runpb.RevisionTemplate) error {
	const at = "service.template"
	if t == nil {
		return invalid(at, "is required")
	}
	if r := t.GetRevision(); r != "" {
		if !strings.HasPrefix(r, id+"-") || !revisionID.MatchString(r) || len(r) > mostRevisionName {
			return invalid(at+".revision", "%q must begin with %q and be at most %d lowercase letters, digits and hyphens", r, id+"-", mostRevisionName)
		}
	}
	if d := t.GetTimeout().AsDuration(); d <= 0 || d > mostTimeout {
		return invalid(at+".timeout", "%s is not within 1s and %s", d, mostTimeout)
	}
	if sc := t.GetScaling(); sc.GetMinInstanceCount() < 0 || sc.GetMaxInstanceCount() < sc.GetMinInstanceCount() {
		return invalid(at+".scaling", "min_instance_count %d must not be over max_instance_count %d", sc.GetMinInstanceCount(), sc.GetMaxInstanceCount())
	}
	if c := t.GetMaxInstanceRequestConcurrency(); c < 0 || c > mostConcurrency {
		return invalid(at+".max_instance_request_concurrency", "%d is not within 1 and %d", c, mostConcurrency)
	}
	if len(t.GetVolumes()) > 0 {
		return notServed(at + ".volumes")
	}
	switch len(t.GetContainers()) {
	case 0:
		return invalid(at+".containers", "at least one container is required")
	case 1:
		return checkContainer(at+".containers[0]", t)
	}
	return notServed(at + ".containers: more than one container")
}

func checkContainer(at string, t *runpb.RevisionTemplate) error {
	c := t.GetContainers()[0]
	if c.GetImage() == "" {
		return invalid(at+".image", "is required")
	}
	if len(c.GetCommand()) > 0 {
		return notServed(at + ".command")
	}
	if len(c.GetVolumeMounts()) > 0 {
		return invalid(at+".volume_mounts", "%q is no volume of the template", c.GetVolumeMounts()[0].GetName())
	}
	if err := checkPorts(at+".ports", c.GetPorts()); err != nil {
		return err
	}
	if err := checkEnv(at+".env", c.GetEnv()); err != nil {
		return err
	}
	if err := checkResources(at+".resources.limits", c.GetResources().GetLimits(), t.GetMaxInstanceRequestConcurrency()); err != nil {
		return err
	}
	port := c.GetPorts()[0].GetContainerPort()
	for _, probe := range []struct {
		field string
		is    *runpb.Probe
		most  int32
	}{
		{at + ".startup_probe", c.GetStartupProbe(), mostStart},
		{at + ".liveness_probe", c.GetLivenessProbe(), 3600},
		{at + ".readiness_probe", c.GetReadinessProbe(), 3600},
	} {
		if probe.is == nil {
			continue
		}
		if err := checkProbe(probe.field, probe.is, probe.most, port); err != nil {
			return err
		}
	}
	if p := c.GetStartupProbe(); p.GetPeriodSeconds()*p.GetFailureThreshold() > mostStart {
		return invalid(at+".startup_probe", "period_seconds times failure_threshold is over %d", mostStart)
	}
	return nil
}

func checkPorts(at string, ports []*runpb.ContainerPort) error {
	if len(ports) != 1 {
		return invalid(at, "exactly one port can be given")
	}
	switch p := ports[0]; {
	case p.GetContainerPort() < 1 || p.GetContainerPort() > 65535:
		return invalid(at, "%d is no port", p.GetContainerPort())
	case p.GetName() == "h2c":
		return notServed(at + ".name h2c")
	case p.GetName() != "http1":
		return invalid(at+".name", "%q must be http1 or h2c", p.GetName())
	}
	return nil
}

func checkEnv(at string, env []*runpb.EnvVar) error {
	seen := map[string]bool{}
	for _, v := range env {
		name := v.GetName()
		switch {
		case !envName.MatchString(name):
			return invalid(at, "%q is no name of a variable", name)
		case slices.Contains(reservedEnv, name):
			return invalid(at, "the name %s is reserved: Cloud Run sets it", name)
		case seen[name]:
			return invalid(at, "%s is given twice", name)
		case len(v.GetValue()) > mostEnvValue:
			return invalid(at, "the value of %s is over %d characters", name, mostEnvValue)
		}
		seen[name] = true
		if source := v.GetValueSource(); source != nil && source.GetSecretKeyRef().GetSecret() == "" {
			return invalid(at, "%s: value_source names no secret", name)
		}
	}
	return nil
}

func checkProbe(at string, p *runpb.Probe, most, port int32) error {
	switch {
	case p.GetInitialDelaySeconds() < 0 || p.GetInitialDelaySeconds() > most:
		return invalid(at+".initial_delay_seconds", "%d is not within 0 and %d", p.GetInitialDelaySeconds(), most)
	case p.GetPeriodSeconds() < 1 || p.GetPeriodSeconds() > most:
		return invalid(at+".period_seconds", "%d is not within 1 and %d", p.GetPeriodSeconds(), most)
	case p.GetTimeoutSeconds() < 1 || p.GetTimeoutSeconds() > 3600:
		return invalid(at+".timeout_seconds", "%d is not within 1 and 3600", p.GetTimeoutSeconds())
	case p.GetTimeoutSeconds() > p.GetPeriodSeconds():
		return invalid(at+".timeout_seconds", "%d must not be over period_seconds, which is %d", p.GetTimeoutSeconds(), p.GetPeriodSeconds())
	case p.GetFailureThreshold() < 1:
		return invalid(at+".failure_threshold", "%d must be at least 1", p.GetFailureThreshold())
	}
	var asked int32
	switch {
	case p.GetGrpc() != nil:
		return notServed(at + ".grpc")
	case p.GetHttpGet() != nil:
		asked = p.GetHttpGet().GetPort()
		if !strings.HasPrefix(p.GetHttpGet().GetPath(), "/") {
			return invalid(at+".http_get.path", "%q must begin with a slash", p.GetHttpGet().GetPath())
		}
	case p.GetTcpSocket() != nil:
		asked = p.GetTcpSocket().GetPort()
	default:
		return invalid(at, "one of http_get, tcp_socket and grpc is required")
	}
	if asked != port {
		return notServed(at + ".port other than the container's")
	}
	return nil
}

// checkResources keeps the pairs of cpu and memory that Google sells.
func checkResources(at string, limits map[string]string, concurrency int32) error {
	for key := range limits {
		if key != "cpu" && key != "memory" && key != "nvidia.com/gpu" {
			return invalid(at, "%q is not one of cpu, memory, nvidia.com/gpu", key)
		}
	}
	milli, err := milliCPU(limits["cpu"])
	if err != nil {
		return invalid(at+".cpu", "%v", err)
	}
	bytes, err := memoryBytes(limits["memory"])
	if err != nil {
		return invalid(at+".memory", "%v", err)
	}
	const gi = 1 << 30
	switch {
	case milli < 80:
		return invalid(at+".cpu", "%q is under 0.08", limits["cpu"])
	case milli < 1000 && concurrency > 1:
		return invalid(at+".cpu", "under 1 cpu the concurrency must be 1, not %d", concurrency)
	case milli > 1000 && milli%1000 != 0:
		return invalid(at+".cpu", "%q must be whole above 1", limits["cpu"])
	}
	least, most := int64(128<<20), int64(4*gi)
	switch milli / 1000 {
	case 0, 1:
	case 2:
		most = 8 * gi
	case 4:
		least, most = 2*gi, 16*gi
	case 6, 8:
		least, most = 4*gi, 32*gi
	default:
		if limits["nvidia.com/gpu"] == "" {
			return invalid(at+".cpu", "%q is not one of 1, 2, 4, 6, 8", limits["cpu"])
		}
		most = 176 * gi
	}
	if bytes < least || bytes > most {
		return invalid(at+".memory", "%s is not within %dMi and %dMi for %s cpu", limits["memory"], least>>20, most>>20, limits["cpu"])
	}
	return nil
}

func milliCPU(s string) (int64, error) {
	if m, ok := strings.CutSuffix(s, "m"); ok {
		n, err := strconv.ParseInt(m, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is no quantity of cpu", s)
		}
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 || f > 1000 {
		return 0, fmt.Errorf("%q is no quantity of cpu", s)
	}
	return int64(f*1000 + 0.5), nil
}

func memoryBytes(s string) (int64, error) {
	for _, unit := range []struct {
		suffix string
		bytes  int64
	}{{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"", 1}} {
		if number, ok := strings.CutSuffix(s, unit.suffix); ok {
			f, err := strconv.ParseFloat(number, 64)
			if err != nil || f < 0 || f > 1e6 && unit.bytes >= 1<<30 {
				break
			}
			return int64(f * float64(unit.bytes)), nil
		}
	}
	return 0, fmt.Errorf("%q is no quantity of memory", s)
}

// checkTraffic says what is wrong with a split. known says which revisions there
// are, by their short names.
func checkTraffic(service string, traffic []*runpb.TrafficTarget, known func(revision string) bool) error {
	sum := int32(0)
	tags := map[string]bool{}
	for i, t := range traffic {
		at := fmt.Sprintf("service.traffic[%d]", i)
		switch {
		case t.GetType() == latest && t.GetRevision() != "":
			return invalid(at, "a target of type LATEST names no revision, this one names %s", t.GetRevision())
		case t.GetType() == named && t.GetRevision() == "":
			return invalid(at, "a target of type REVISION must name one")
		case t.GetType() == named && !known(t.GetRevision()):
			return invalid(at, "Revision '%s' of service '%s' was not found", t.GetRevision(), service)
		case t.GetType() != latest && t.GetType() != named:
			return invalid(at+".type", "is required")
		case t.GetPercent() < 0 || t.GetPercent() > 100:
			return invalid(at+".percent", "%d is not within 0 and 100", t.GetPercent())
		}
		sum += t.GetPercent()
		if tag := t.GetTag(); tag != "" {
			if err := checkTag(at+".tag", service, tag); err != nil {
				return err
			}
			if tags[tag] {
				return invalid(at+".tag", "%q is given twice", tag)
			}
			tags[tag] = true
		}
	}
	if sum != 100 {
		return invalid("service.traffic", "the percents add up to %d, not to 100", sum)
	}
	return nil
}

func checkTag(at, service, tag string) error {
	if len(tag) < 3 || !trafficTag.MatchString(tag) {
		return invalid(at, "%q must be at least 3 lowercase letters, digits and hyphens, begin with a letter and not end in a hyphen", tag)
	}
	if len(tag)+len(service) > mostTagAndName {
		return invalid(at, "%q and the service's name have %d characters together, over %d", tag, len(tag)+len(service), mostTagAndName)
	}
	return nil
}

// fillDefaults sets what Google sets where a caller has left it open, so that
// whoever reads the service back and sends it again changes nothing.
func fillDefaults(project string, s *runpb.Service) {
	if s.GetIngress() == runpb.IngressTraffic_INGRESS_TRAFFIC_UNSPECIFIED {
		s.Ingress = runpb.IngressTraffic_INGRESS_TRAFFIC_ALL
	}
	if s.GetLaunchStage() == api.LaunchStage_LAUNCH_STAGE_UNSPECIFIED {
		s.LaunchStage = api.LaunchStage_GA
	}
	if len(s.GetTraffic()) == 0 {
		s.Traffic = []*runpb.TrafficTarget{{Type: latest, Percent: 100}}
	}
	t := s.GetTemplate()
	if t == nil {
		return
	}
	if t.GetScaling() == nil {
		t.Scaling = &runpb.RevisionScaling{}
	}
	if t.GetScaling().GetMaxInstanceCount() == 0 {
		t.Scaling.MaxInstanceCount = 100
	}
	if t.GetTimeout() == nil {
		t.Timeout = durationpb.New(300 * time.Second)
	}
	if t.GetServiceAccount() == "" {
		t.ServiceAccount = ProjectNumber(project) + "-compute@developer.gserviceaccount.com"
	}
	for _, c := range t.GetContainers() {
		fillContainer(c)
	}
	if t.GetMaxInstanceRequestConcurrency() == 0 && len(t.GetContainers()) > 0 {
		t.MaxInstanceRequestConcurrency = 80
		if milli, err := milliCPU(t.GetContainers()[0].GetResources().GetLimits()["cpu"]); err == nil && milli < 1000 {
			t.MaxInstanceRequestConcurrency = 1
		}
	}
}

func fillContainer(c *runpb.Container) {
	if len(c.GetPorts()) == 0 {
		c.Ports = []*runpb.ContainerPort{{}}
	}
	for _, p := range c.GetPorts() {
		if p.GetName() == "" {
			p.Name = "http1"
		}
		if p.GetContainerPort() == 0 {
			p.ContainerPort = 8080
		}
	}
	if c.GetResources() == nil {
		c.Resources = &runpb.ResourceRequirements{CpuIdle: true}
	}
	limits := map[string]string{"cpu": "1000m", "memory": "512Mi"}
	maps.Copy(limits, c.GetResources().GetLimits())
	c.Resources.Limits = limits

	port := c.GetPorts()[0].GetContainerPort()
	if c.GetStartupProbe() == nil {
		c.StartupProbe = &runpb.Probe{
			TimeoutSeconds: mostStart, PeriodSeconds: mostStart, FailureThreshold: 1,
			ProbeType: &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{}},
		}
	}
	for _, p := range []*runpb.Probe{c.GetStartupProbe(), c.GetLivenessProbe(), c.GetReadinessProbe()} {
		if p != nil {
			fillProbe(p, port)
		}
	}
}

func fillProbe(p *runpb.Probe, port int32) {
	if p.GetTimeoutSeconds() == 0 {
		p.TimeoutSeconds = 1
	}
	if p.GetPeriodSeconds() == 0 {
		p.PeriodSeconds = 10
	}
	if p.GetFailureThreshold() == 0 {
		p.FailureThreshold = 3
	}
	if h := p.GetHttpGet(); h != nil {
		if h.GetPath() == "" {
			h.Path = "/"
		}
		if h.GetPort() == 0 {
			h.Port = port
		}
	}
	if t := p.GetTcpSocket(); t != nil && t.GetPort() == 0 {
		t.Port = port
	}
}

// wantedOf returns a service with only what a caller may set.
func wantedOf(s *runpb.Service) *runpb.Service {
	if s == nil {
		return &runpb.Service{}
	}
	w := proto.CloneOf(s)
	w.Name, w.Uid, w.Generation, w.Etag = "", "", 0, ""
	w.CreateTime, w.UpdateTime, w.DeleteTime, w.ExpireTime = nil, nil, nil, nil
	w.Creator, w.LastModifier = "", ""
	w.Urls, w.Uri = nil, ""
	w.ObservedGeneration, w.TerminalCondition, w.Conditions = 0, nil, nil
	w.LatestReadyRevision, w.LatestCreatedRevision, w.TrafficStatuses = "", "", nil
	w.SatisfiesPzs, w.Reconciling = false, false
	return w
}

// sameTemplate says whether two templates make the same revision. One that does
// not name its revision is not different for that.
func sameTemplate(before, after *runpb.RevisionTemplate) bool {
	a, b := proto.CloneOf(before), proto.CloneOf(after)
	if b.GetRevision() == "" && a != nil {
		a.Revision = ""
	}
	return proto.Equal(a, b)
}

var errNothingMasked = errors.New("the service is missing")

// merge returns what is wanted after an update: the caller's service where the
// mask names a field, the current one elsewhere. No mask stands for all fields.
func merge(current, update *runpb.Service, mask []string) (*runpb.Service, error) {
	if update == nil {
		return nil, errNothingMasked
	}
	if len(mask) == 0 || slices.Contains(mask, "*") {
		return wantedOf(update), nil
	}
	merged := wantedOf(current)
	from := wantedOf(update)
	for _, path := range mask {
		if err := copyPath(merged.ProtoReflect(), from.ProtoReflect(), strings.Split(path, ".")); err != nil {
			return nil, invalid("update_mask", "%q %v", path, err)
		}
	}
	return merged, nil
}
