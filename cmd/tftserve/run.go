package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/signal"
	"syscall"
	"time"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/version"
	"github.com/tftctl/tftctl/serve"
	"github.com/tftctl/tftctl/serve/roster"
)

// run is the program: it returns the exit code. Answers go to stdout, the log
// goes to stderr.
func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	began := time.Now()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	config, err := serve.ReadConfig(args, env, stdout)
	log := serve.NewLog(stderr, config.LogLevel)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
	case config.Version:
		v := version.Get()
		_, err = fmt.Fprintln(stdout, "tftserve", v.Version, v.Platform, v.Commit)
	case config.Check:
		err = check(ctx, config, stdout)
	default:
		err = serveModel(ctx, config, began, log)
	}
	if err != nil {
		log.Error("tftserve failed", serve.Cause(err), slog.String("kind", fault.KindOf(err).String()), slog.String("hint", fault.HintOf(err)))
	}
	return exitCode(err)
}

// exitCode is 0 after a clean end, 3 for bad settings, 5 for a model that is
// refused, 1 for all else.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	switch fault.KindOf(err) {
	case fault.Malformed, fault.Invalid, fault.TooLarge, fault.NotFound:
		return 3
	case fault.Corrupt:
		return 5
	default:
		return 1
	}
}

// check loads the model, tries it, and says that it works.
func check(ctx context.Context, c serve.Config, stdout io.Writer) error {
	m, err := load(ctx, c)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s answers its sample with ONNX Runtime %s\n", m.served, m.runtime)
	return errors.Join(err, m.close())
}

// serveModel listens before it loads the model, so that probes get answers from
// the first moment, and serves until ctx ends.
func serveModel(ctx context.Context, c serve.Config, began time.Time, log *slog.Logger) error {
	listener, err := listen(ctx, c)
	if err != nil {
		return err
	}
	models := roster.New()
	server := serve.New(c, models, log)
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	log.Info("listening", slog.String("address", listener.Addr().String()))

	m, err := load(ctx, c)
	if err != nil {
		if interrupted := ctx.Err() != nil; interrupted {
			return <-served // told to leave before it was ready: that is no failure
		}
		return errors.Join(err, server.Close(), ignore(<-served))
	}
	closed := make(chan error, 1)
	models.Enter(m.served, func() { closed <- m.close() })
	log.Info("ready",
		slog.Float64("ms", float64(time.Since(began).Microseconds())/1000),
		slog.String("model", m.served.String()),
		slog.String("release", c.Release),
		slog.String("onnxruntime", m.runtime))

	err = <-served
	models.Clear()
	err = errors.Join(err, <-closed)
	if err == nil {
		log.Info("left")
	}
	return err
}

// ignore is for the error of a server that was just closed.
func ignore(error) error { return nil }

// listen takes the configured port.
func listen(ctx context.Context, c serve.Config) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Address())
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.Wrap(fault.Invalid, err, "port %d on %s is taken by another process", c.Port, c.Host).
			WithHint("stop that process (ss -ltnp 'sport = :%d' names it), or choose another port with --port or TFT_PORT", c.Port)
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, err, "cannot listen on %s", c.Address()).
			WithHint("check --port and --bind-host (TFT_PORT, TFT_BIND_HOST)")
	}
	return l, nil
}
