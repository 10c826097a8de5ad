package serve

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/serve/drain"
)

// Config is everything that a server can be told. It is read once, checked, and
// never changes.
//
//	flag            variable                            default
//	--port          AIP_HTTP_PORT, PORT, TFT_PORT       8080
//	--bind-host     TFT_BIND_HOST                       0.0.0.0 where AIP_HTTP_PORT or PORT is set, else 127.0.0.1
//	--model         TFT_MODEL, AIP_STORAGE_URI          none: it must be named
//	--model-digest  TFT_MODEL_DIGEST                    any
//	--release       TFT_RELEASE                         none
//	--ort-library   TFT_ORT_LIBRARY                     beside the program, then /opt/onnxruntime
//	--log-level     TFT_LOG_LEVEL                       info
//	                AIP_PREDICT_ROUTE, AIP_HEALTH_ROUTE routes besides the standard ones
//
// A flag wins over a variable, an earlier variable over a later one; an empty
// variable is one that is not set.
type Config struct {
	Host string
	Port int // 0: any free one

	Model       string       // a folder, or gs://bucket/prefix
	ModelDigest model.Digest // the bundle must have it; "": any
	Release     string       // such as "v1-3f9a1c2b"; "": none
	Library     string       // ONNX Runtime's; "": where it usually lies

	PredictRoutes []string // POST
	HealthRoutes  []string // GET, the same as ready
	LogLevel      slog.Level

	MaxBody int64         // bytes of a request's body; 0: 10 MiB
	Running int           // requests being answered at the same time; 0: 64
	Waiting int           // requests that may wait for that; 0: 256
	Answer  time.Duration // to answer a request at most; 0: 60 s
	Drain   drain.Options

	Version bool // only print the version
	Check   bool // only load the model, try it, and say whether it works
}

// The routes that every server has.
const (
	PredictRoute = "/predict"
	StartupRoute = "/health/startup"
	LiveRoute    = "/health/live"
	ReadyRoute   = "/health/ready"
)

// ReadConfig reads args, and through env the environment. Help that was asked
// for goes to help, with flag.ErrHelp returned.
//
// Errors: Invalid, naming the flag or variable.
func ReadConfig(args []string, env func(string) string, help io.Writer) (Config, error) {
	flags := flag.NewFlagSet("tftserve", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are reported once, by whoever called
	var (
		port     = flags.String("port", first(env, "AIP_HTTP_PORT", "PORT", "TFT_PORT"), "`port` to listen on; 0 takes a free one [AIP_HTTP_PORT, PORT, TFT_PORT] (default 8080)")
		host     = flags.String("bind-host", env("TFT_BIND_HOST"), "`address` to listen on [TFT_BIND_HOST] (default 127.0.0.1; 0.0.0.0 in a container)")
		bundle   = flags.String("model", first(env, "TFT_MODEL", "AIP_STORAGE_URI"), "model bundle: a `folder` or gs://bucket/prefix [TFT_MODEL, AIP_STORAGE_URI]")
		digest   = flags.String("model-digest", env("TFT_MODEL_DIGEST"), "`digest` that the bundle must have [TFT_MODEL_DIGEST]")
		release  = flags.String("release", env("TFT_RELEASE"), "`id` of the release, repeated in every answer [TFT_RELEASE]")
		library  = flags.String("ort-library", env("TFT_ORT_LIBRARY"), "`path` of libonnxruntime.so.1 [TFT_ORT_LIBRARY]")
		logLevel = flags.String("log-level", first(env, "TFT_LOG_LEVEL"), "debug, info, warn or error [TFT_LOG_LEVEL] (default info)")
		version  = flags.Bool("version", false, "print the version and exit")
		check    = flags.Bool("check", false, "load the model, answer its sample, and exit")
	)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(help, "tftserve serves forecasts of a model bundle over HTTP.\n\nusage: tftserve [flags]")
			flags.SetOutput(help)
			flags.PrintDefaults()
			return Config{}, flag.ErrHelp
		}
		return Config{}, fault.Wrap(fault.Invalid, err, "%v", err).WithHint("tftserve --help lists the flags")
	}
	if flags.NArg() > 0 {
		return Config{}, fault.Newf(fault.Invalid, "unexpected argument %q", flags.Arg(0)).WithHint("the model is named by a flag: --model %s", flags.Arg(0))
	}

	c := Config{
		Host:          *host,
		Port:          8080,
		Model:         *bundle,
		Release:       *release,
		Library:       *library,
		PredictRoutes: []string{PredictRoute},
		HealthRoutes:  []string{ReadyRoute},
		Version:       *version,
		Check:         *check,
	}
	if c.Version {
		return c, nil // needs nothing else
	}
	if c.Host == "" {
		c.Host = "127.0.0.1"
		if env("PORT") != "" || env("AIP_HTTP_PORT") != "" {
			c.Host = "0.0.0.0"
		}
	}
	return c, errors.Join(
		c.setPort(*port),
		c.setModel(*digest),
		c.setRoute("AIP_PREDICT_ROUTE", env("AIP_PREDICT_ROUTE"), &c.PredictRoutes),
		c.setRoute("AIP_HEALTH_ROUTE", env("AIP_HEALTH_ROUTE"), &c.HealthRoutes),
		c.setRelease(),
		c.setLogLevel(*logLevel),
	)
}

// first returns the first variable of names that is set.
func first(env func(string) string, names ...string) string {
	for _, name := range names {
		if v := env(name); v != "" {
			return v
		}
	}
	return ""
}

// Address is where to listen.
func (c Config) Address() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

func (c *Config) setPort(text string) error {
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 65535 {
		return fault.Newf(fault.Invalid, "port %q is not a number from 0 to 65535", text).
			WithHint("set --port, or PORT, AIP_HTTP_PORT or TFT_PORT, such as 8080")
	}
	c.Port = n
	return nil
}

func (c *Config) setModel(digest string) error {
	if c.Model == "" {
		return fault.Newf(fault.Invalid, "no model is named").
			WithHint("set --model or TFT_MODEL to a bundle's folder, or to gs://bucket/prefix")
	}
	if digest == "" {
		return nil
	}
	d, err := model.ParseDigest(digest)
	c.ModelDigest = d
	return err
}

// setRoute adds a literal route that the platform hands over. Braces mean
// something to net/http's patterns, so they cannot stand in one.
func (c *Config) setRoute(name, route string, routes *[]string) error {
	switch {
	case route == "":
		return nil
	case !strings.HasPrefix(route, "/") || strings.ContainsAny(route, "{} \t?#") || path.Clean(route) != route || len(route) > 512:
		return fault.Newf(fault.Invalid, "%s %q is not a path", name, route).WithHint("write it like /predict or /v1/models/forecast:predict")
	}
	taken := append([]string{StartupRoute, LiveRoute}, append(c.PredictRoutes, c.HealthRoutes...)...)
	switch {
	case slices.Contains(*routes, route): // named again, for the same thing
	case slices.Contains(taken, route):
		return fault.Newf(fault.Invalid, "%s %q is taken by another route", name, route).WithHint("choose another path")
	default:
		*routes = append(*routes, route)
	}
	return nil
}

func (c *Config) setRelease() error {
	for _, r := range c.Release {
		if r < '!' || r > '~' {
			return fault.Newf(fault.Invalid, "release %q cannot stand in a header", c.Release).WithHint("set --release or TFT_RELEASE to an id such as v1-3f9a1c2b")
		}
	}
	return nil
}

func (c *Config) setLogLevel(text string) error {
	if text == "" {
		return nil
	}
	if err := c.LogLevel.UnmarshalText([]byte(text)); err != nil {
		return fault.Wrap(fault.Invalid, err, "log level %q is unknown", text).WithHint("set --log-level or TFT_LOG_LEVEL to debug, info, warn or error")
	}
	return nil
}
