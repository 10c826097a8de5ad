// Package serve is one server process, from listening to the last drained request.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/tftctl/tftctl/serve/drain"
	"github.com/tftctl/tftctl/serve/predict"
)

// Server answers requests on one listener.
type Server struct {
	http  *http.Server
	drain *drain.Drain
	cut   context.CancelCauseFunc // ends every request
}

// New returns a Server of what models finds. It may serve before there is a
// model: probes tell, and predictions are unavailable until then.
func New(c Config, models predict.Finder, log *slog.Logger) *Server {
	c = c.withDefaults()
	requests, cut := context.WithCancelCause(context.Background())
	d := drain.New(c.Drain)
	return &Server{
		drain: d,
		cut:   cut,
		http: &http.Server{
			Handler:     handler(c, models, d, log),
			BaseContext: func(net.Listener) context.Context { return requests },
			ConnState:   d.ConnState,
			ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients' mistakes, below HTTP

			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       30 * time.Second,
			WriteTimeout:      30*time.Second + c.Answer,
			// Longer than Google's front ends keep an idle connection, 600 s, so
			// that it is they who close it: the other way round, a request may
			// meet a connection that is just being closed.
			IdleTimeout:    620 * time.Second,
			MaxHeaderBytes: 64 << 10,
		},
	}
}

// Serve answers requests on l until ctx ends, then leaves without losing one.
// It returns nil after a clean end.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer s.cut(nil)
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	err := s.drain.Leave(s.http, s.cut)
	if closed := <-ended; !errors.Is(closed, http.ErrServerClosed) {
		err = errors.Join(err, closed)
	}
	return err
}

// Close ends the server at once, whoever is being served. It is for a server
// that turned out to have nothing to serve; others leave by Serve's context.
func (s *Server) Close() error { return s.http.Close() }

func (c Config) withDefaults() Config {
	if c.MaxBody == 0 {
		c.MaxBody = 10 << 20
	}
	if c.Running == 0 {
		c.Running = 64
	}
	if c.Waiting == 0 {
		c.Waiting = 256
	}
	if c.Answer == 0 {
		c.Answer = time.Minute
	}
	return c
}
