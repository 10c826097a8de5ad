package cli

import (
	"time"

	"github.com/tftctl/tftctl/deploy/cloudrun"
	"github.com/tftctl/tftctl/deploy/vertex"
	"github.com/tftctl/tftctl/pkg/config"
)

func runSettings(c *config.Config) cloudrun.Settings {
	r := c.Targets.CloudRun
	return cloudrun.Settings{
		CPU: r.CPU, Memory: r.Memory, CPUIdle: *r.CPUIdle, StartupCPUBoost: *r.StartupCPUBoost,
		Concurrency: r.Concurrency, Timeout: time.Duration(r.Timeout),
		MinInstances: r.MinInstances, MaxInstances: r.MaxInstances, Ingress: r.Ingress,
		ServiceAccount: r.ServiceAccount, ExecutionGen1: r.ExecutionEnvironment == "gen1", Labels: c.Labels,
	}
}

func vertexSettings(c *config.Config) vertex.Settings {
	v := c.Targets.Vertex
	return vertex.Settings{
		MachineType: v.MachineType, MinReplicas: v.MinReplicas, MaxReplicas: v.MaxReplicas,
		ServiceAccount: v.ServiceAccount, Labels: c.Labels,
	}
}
