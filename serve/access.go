package serve

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/tftctl/tftctl/pkg/fault"
)

// access writes one line for each request, when it has been answered. Probes
// that went well are below the usual level: they come every second and say nothing.
func access(log *slog.Logger, release string, next http.Handler) http.Handler {
	probes := []string{StartupRoute, LiveRoute, ReadyRoute}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		out := &recorder{ResponseWriter: w}
		defer func() { // also where a handler breaks the connection off
			level := slog.LevelInfo
			switch {
			case out.status >= 500 && out.cause != nil && fault.KindOf(out.cause) == fault.Internal:
				level = slog.LevelError
			case slices.Contains(probes, r.URL.Path):
				level = slog.LevelDebug
			case out.status >= 500 || out.status == http.StatusTooManyRequests:
				level = slog.LevelWarn
			}
			log.LogAttrs(r.Context(), level, "request", out.attributes(r, release, time.Since(began))...)
		}()
		next.ServeHTTP(out, r)
	})
}

// recorder is a ResponseWriter that remembers what the log wants to know.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	cause  error
}

func (o *recorder) WriteHeader(status int) {
	if o.status == 0 {
		o.status = status
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *recorder) Write(b []byte) (int, error) {
	if o.status == 0 {
		o.status = http.StatusOK
	}
	n, err := o.ResponseWriter.Write(b)
	o.bytes += int64(n)
	return n, err
}

// Note keeps why the request failed.
func (o *recorder) Note(err error) { o.cause = err }

// Unwrap lets http.ResponseController through.
func (o *recorder) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func (o *recorder) attributes(r *http.Request, release string, took time.Duration) []slog.Attr {
	attrs := []slog.Attr{
		slog.String("method", r.Method),
		slog.String("path", r.URL.Path),
		slog.Int("status", o.status),
		slog.Int64("request_bytes", r.ContentLength),
		slog.Int64("response_bytes", o.bytes),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("request_id", o.Header().Get(requestID)),
	}
	if release != "" {
		attrs = append(attrs, slog.String("release", release))
	}
	if o.cause != nil {
		attrs = append(attrs, Cause(o.cause))
	}
	return attrs
}

// requestID is the header that names a request in its answer and in the log.
const requestID = "X-Request-Id"

var idForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// identify gives each request an id: the client's, where it can stand in a log,
// or a new one.
func identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestID)
		if !idForm.MatchString(id) {
			id = rand.Text()[:16]
		}
		w.Header().Set(requestID, id)
		next.ServeHTTP(w, r)
	})
}
