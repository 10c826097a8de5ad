package serve_test

import (
	"errors"
	"flag"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/serve"
)

// defaults is what an environment with nothing but a model gives.
func defaults() serve.Config {
	return serve.Config{
		Host: "127.0.0.1", Port: 8080, Model: "dir",
		PredictRoutes: []string{"/predict"}, HealthRoutes: []string{"/health/ready"},
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("a", 64)
	for name, c := range map[string]struct {
		args []string
		env  map[string]string
		want func(c *serve.Config)
	}{
		"nothing but a model": {want: func(*serve.Config) {}},
		"Cloud Run":           {env: map[string]string{"PORT": "9000"}, want: func(c *serve.Config) { c.Host, c.Port = "0.0.0.0", 9000 }},
		"Vertex AI": {
			env: map[string]string{
				"AIP_HTTP_PORT": "7080", "AIP_STORAGE_URI": "gs://copy/x", "TFT_MODEL": "",
				"AIP_PREDICT_ROUTE": "/v1/endpoints/1/deployedModels/2:predict", "AIP_HEALTH_ROUTE": "/v1/endpoints/1/deployedModels/2",
			},
			want: func(c *serve.Config) {
				c.Host, c.Port, c.Model = "0.0.0.0", 7080, "gs://copy/x"
				c.PredictRoutes = append(c.PredictRoutes, "/v1/endpoints/1/deployedModels/2:predict")
				c.HealthRoutes = append(c.HealthRoutes, "/v1/endpoints/1/deployedModels/2")
			},
		},
		"platform's port wins over ours": {
			env:  map[string]string{"AIP_HTTP_PORT": "1", "PORT": "2", "TFT_PORT": "3", "TFT_BIND_HOST": "127.0.0.1"},
			want: func(c *serve.Config) { c.Port = 1 },
		},
		"flag wins over every variable": {
			args: []string{"--port", "4", "--model", "other", "--bind-host", "::1"},
			env:  map[string]string{"AIP_HTTP_PORT": "1", "PORT": "2", "TFT_PORT": "3"},
			want: func(c *serve.Config) { c.Host, c.Port, c.Model = "::1", 4, "other" },
		},
		"our model wins over Vertex's": {env: map[string]string{"AIP_STORAGE_URI": "gs://copy/x"}, want: func(*serve.Config) {}},
		"routes named again": {
			env:  map[string]string{"AIP_PREDICT_ROUTE": "/predict", "AIP_HEALTH_ROUTE": "/health/ready"},
			want: func(*serve.Config) {},
		},
		"the rest": {
			args: []string{"--model-digest", digest, "--release=v1-3f9a1c2b", "--log-level", "warn", "--check"},
			env:  map[string]string{"TFT_ORT_LIBRARY": "/lib/ort"},
			want: func(c *serve.Config) {
				c.ModelDigest, c.Release, c.LogLevel, c.Check, c.Library = model.Digest(digest), "v1-3f9a1c2b", slog.LevelWarn, true, "/lib/ort"
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := serve.ReadConfig(c.args, env(c.env), &strings.Builder{})
			if err != nil {
				t.Fatal(err)
			}
			want := defaults()
			c.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// env is an environment with a model, unless more says otherwise.
func env(more map[string]string) func(string) string {
	return func(name string) string {
		if v, ok := more[name]; ok || name != "TFT_MODEL" {
			return v
		}
		return "dir"
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		env  map[string]string
		want string
	}{
		"no model":               {env: map[string]string{"TFT_MODEL": ""}, want: "no model is named"},
		"port is no number":      {env: map[string]string{"PORT": "http"}, want: `port "http"`},
		"port too large":         {args: []string{"--port", "65536"}, want: `port "65536"`},
		"digest":                 {env: map[string]string{"TFT_MODEL_DIGEST": "3f9a"}, want: `"3f9a" is not a digest`},
		"route is no path":       {env: map[string]string{"AIP_PREDICT_ROUTE": "predict"}, want: `AIP_PREDICT_ROUTE "predict"`},
		"route with a wildcard":  {env: map[string]string{"AIP_PREDICT_ROUTE": "/x/{name}"}, want: "AIP_PREDICT_ROUTE"},
		"route is a probe's":     {env: map[string]string{"AIP_PREDICT_ROUTE": "/health/live"}, want: "is taken by another route"},
		"one route for two":      {env: map[string]string{"AIP_PREDICT_ROUTE": "/x", "AIP_HEALTH_ROUTE": "/x"}, want: "is taken by another route"},
		"release with a newline": {env: map[string]string{"TFT_RELEASE": "v1\r\nX: y"}, want: "cannot stand in a header"},
		"log level":              {env: map[string]string{"TFT_LOG_LEVEL": "loud"}, want: `log level "loud"`},
		"unknown flag":           {args: []string{"--prot", "1"}, want: "prot"},
		"argument":               {args: []string{"model"}, want: `unexpected argument "model"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := serve.ReadConfig(c.args, env(c.env), &strings.Builder{})
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.want) || fault.HintOf(err) == "" {
				t.Errorf("got %v (hint %q), want Invalid with %q and a hint", err, fault.HintOf(err), c.want)
			}
		})
	}
}

func TestHelpAndVersionNeedNoSettings(t *testing.T) {
	t.Parallel()
	var help strings.Builder
	empty := func(string) string { return "" }
	if _, err := serve.ReadConfig([]string{"--help"}, empty, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "TFT_MODEL_DIGEST") {
		t.Errorf("got %v and %q", err, help.String())
	}
	if c, err := serve.ReadConfig([]string{"--version"}, empty, &help); err != nil || !c.Version {
		t.Errorf("got %+v, %v", c, err)
	}
}
