package run

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"

	"github.com/tftctl/tftctl/pkg/localcloud/fleet"
)

// instanceSpec is the process that serves a revision: Cloud Run's container
// contract. key is its service's route key. Secrets are resolved here, so an
// instance keeps the values that it was started with.
func (s *cloudRun) instanceSpec(ctx context.Context, key string, r *runpb.Revision, proven bool) (fleet.Spec, error) {
	c := r.GetContainers()[0]
	user, err := s.environment(ctx, r.GetName(), c.GetEnv())
	if err != nil {
		return fleet.Spec{}, err
	}
	service, revision := last(parent(r.GetName())), last(r.GetName())
	spec := fleet.Spec{
		Name: targetName(key, revision),
		Kind: "run",
		Args: c.GetArgs(),
		Env: func(port int) []string {
			return append(user[:len(user):len(user)],
				"PORT="+strconv.Itoa(port),
				"K_SERVICE="+service,
				"K_REVISION="+revision,
				"K_CONFIGURATION="+service,
			)
		},
		Start:  probe(c.GetStartupProbe()),
		Proven: proven,
	}
	if c.GetReadinessProbe() != nil {
		p := probe(c.GetReadinessProbe())
		p.Patience = mostStart * time.Second
		spec.Ready = &p
	}
	if c.GetLivenessProbe() != nil {
		p := probe(c.GetLivenessProbe())
		spec.Live = &p
	}
	return spec, nil
}

// targetName is how the front calls a revision: its service's key and its name.
func targetName(key, revision string) string { return key + "/" + revision }

func (s *cloudRun) environment(ctx context.Context, revision string, vars []*runpb.EnvVar) ([]string, error) {
	project := strings.Split(revision, "/")[1]
	var env []string
	for _, v := range vars {
		value := v.GetValue()
		if ref := v.GetValueSource().GetSecretKeyRef(); ref != nil {
			var err error
			if value, err = s.secret(ctx, project, ref); err != nil {
				return nil, fmt.Errorf("%w: variable %s: %w", errSecret, v.GetName(), err)
			}
		}
		env = append(env, v.GetName()+"="+value)
	}
	return env, nil
}

func (s *cloudRun) secret(ctx context.Context, project string, ref *runpb.SecretKeySelector) (string, error) {
	name, version := ref.GetSecret(), ref.GetVersion()
	if !strings.Contains(name, "/") {
		name = "projects/" + project + "/secrets/" + name
	}
	if version == "" {
		version = "latest"
	}
	res, err := s.Secrets.AccessSecretVersion(ctx, &secretmanagerpb.AccessSecretVersionRequest{Name: name + "/versions/" + version})
	if err != nil {
		return "", err
	}
	return string(res.GetPayload().GetData()), nil
}

func probe(p *runpb.Probe) fleet.Probe {
	seconds := func(n int32) time.Duration { return time.Duration(n) * time.Second }
	asks := fleet.Probe{
		Delay: seconds(p.GetInitialDelaySeconds()), Timeout: seconds(p.GetTimeoutSeconds()),
		Period: seconds(p.GetPeriodSeconds()), Failures: int(p.GetFailureThreshold()),
	}
	if h := p.GetHttpGet(); h != nil {
		asks.Path = h.GetPath()
		asks.Headers = http.Header{}
		for _, header := range h.GetHttpHeaders() {
			asks.Headers.Add(header.GetName(), header.GetValue())
		}
	}
	return asks
}
