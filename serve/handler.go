package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/serve/drain"
	"github.com/tftctl/tftctl/serve/predict"
	"github.com/tftctl/tftctl/serve/reply"
	"github.com/tftctl/tftctl/serve/vertexapi"
)

// handler puts the chain together; a request meets it from outside to inside.
// What tells who asked and what came of it stands outermost, so that no refusal
// is missing in the log. Probes are asked in front of the line, because a full
// server is not a sick one. Refusals come before the body is read.
func handler(c Config, models predict.Finder, d *drain.Drain, log *slog.Logger) http.Handler {
	predicting := stamp(c.Release, models,
		limit(c.Running, c.Waiting,
			admit(c.MaxBody,
				deadline(c.Answer,
					vertexapi.Handler(models)))))

	routes := http.NewServeMux()
	for _, route := range c.PredictRoutes {
		routes.Handle(literal(route), predicting)
	}
	routes.Handle(StartupRoute, get(startup(models)))
	routes.Handle(LiveRoute, get(live()))
	for _, route := range c.HealthRoutes {
		routes.Handle(literal(route), get(ready(models, d)))
	}
	routes.Handle("/", unknown())

	return access(log, c.Release,
		rescue(
			identify(
				d.Handler(
					exact(
						routes)))))
}

// exact refuses a path with // or dots in it. ServeMux would send the caller to
// the clean path, and behind a proxy that took a prefix away that is another place.
func exact(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		clean := path.Clean(r.URL.Path)
		if clean != "/" && strings.HasSuffix(r.URL.Path, "/") {
			clean += "/"
		}
		if r.URL.Path != clean {
			unknown().ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// literal returns the pattern that matches route alone. Only "/" means more to
// net/http than itself.
func literal(route string) string {
	if route == "/" {
		return "/{$}"
	}
	return route
}

// stamp writes into every answer which release and which model it is of, also
// into refusals.
func stamp(release string, models predict.Finder, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if release != "" {
			w.Header().Set(ReleaseHeader, release)
		}
		if m, done, err := models.Find("", ""); err == nil {
			w.Header().Set(vertexapi.ModelHeader, m.String())
			done()
		}
		next.ServeHTTP(w, r)
	})
}

// ReleaseHeader names the release that answered.
const ReleaseHeader = "X-Tft-Release"

// deadline ends a request's context after limit. A client that waits longer
// gets an answer that says so, instead of a connection that breaks.
func deadline(limit time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// rescue answers for a handler that panicked, and leaves the stack to the log.
func rescue(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler: // a handler's way to break the connection off
				panic(p)
			default:
				reply.Error(w, r, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// unknown answers for every route that there is not.
func unknown() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reply.Error(w, r, fault.Newf(fault.NotFound, "there is nothing under this path").
			WithHint("predictions: POST %s; probes: GET %s, %s, %s", PredictRoute, StartupRoute, LiveRoute, ReadyRoute))
	})
}
