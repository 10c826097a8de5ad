// Package front is the data plane: it picks a backend by the split, forwards the
// request, and writes down what became of it.
package front

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Backend is what takes requests. Address waits while it cannot take one yet,
// and returns an error when it will not.
type Backend interface {
	Address(ctx context.Context) (string, error)
}

// Target is a backend with its share of a route's requests.
type Target struct {
	Name    string // in the log: run/us-central1/forecaster/forecaster-00001-abc
	Percent int
	Backend Backend
	Path    string // of the requests to it, whatever their own; empty: their own
	Detail  any    // given back to Call's caller with the answer
}

// Route shares the requests that reach it among its targets.
type Route struct {
	Key     string        // by which Call finds it; also its first path: run/us-central1/forecaster
	Hosts   []string      // whose requests are this route's, whatever the path
	Timeout time.Duration // of one request, answered with 504; 0: five minutes
	Targets []Target      // percents add up to 100, or to 0 for a route that refuses
}

const defaultTimeout = 5 * time.Minute

// ErrNoRoute is what a request to an unknown name meets.
var ErrNoRoute = errors.New("no such route")

// ErrNoTarget is what a request meets whose route shares nothing out.
var ErrNoTarget = errors.New("the route has no target with traffic")

// Front holds the routes. It is safe for concurrent use.
type Front struct {
	log       *slog.Logger
	requests  *Log
	transport *http.Transport

	mu     sync.Mutex
	owners map[string][]*live // what each owner has set
	keys   map[string]*live
	hosts  map[string]*live
	flying map[string]*flight // requests in flight, by target name
}

// live is a route with what its split has given out so far.
type live struct {
	Route
	credit []int
}

type flight struct {
	requests int
	landed   chan struct{} // closed when requests is 0 again
}

// New returns a Front without routes that writes its requests to log.
func New(requests *Log, log *slog.Logger) *Front {
	return &Front{
		log:       log,
		requests:  requests,
		transport: newTransport(),
		owners:    map[string][]*live{},
		keys:      map[string]*live{},
		hosts:     map[string]*live{},
		flying:    map[string]*flight{},
	}
}

// Close lets go of the connections that are kept to backends.
func (f *Front) Close() { f.transport.CloseIdleConnections() }

// Requests returns the front's request log.
func (f *Front) Requests() *Log { return f.requests }

// Set replaces all of owner's routes at once: a request sees all the old ones or
// all the new ones. A request that was accepted before goes on where it is.
func (f *Front) Set(owner string, routes ...Route) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, old := range f.owners[owner] {
		delete(f.keys, old.Key)
		for _, host := range old.Hosts {
			delete(f.hosts, host)
		}
	}
	delete(f.owners, owner)
	for _, r := range routes {
		l := &live{Route: r, credit: make([]int, len(r.Targets))}
		l.Timeout = cmp.Or(r.Timeout, defaultTimeout)
		f.owners[owner] = append(f.owners[owner], l)
		f.keys[r.Key] = l
		for _, host := range r.Hosts {
			f.hosts[host] = l
		}
	}
}

// Routes returns the keys of all routes, in order.
func (f *Front) Routes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.keys))
}

// Landed waits until no request is in flight to the target of that name, or ctx
// ends. Called after Set has taken the target out, it says when nobody needs the
// target any more.
func (f *Front) Landed(ctx context.Context, name string) error {
	for {
		f.mu.Lock()
		flight := f.flying[name]
		f.mu.Unlock()
		if flight == nil {
			return nil
		}
		select {
		case <-flight.landed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pick chooses a target of route and counts a request to it, in one step, so
// that Landed never overlooks a request that has read the old routes. The caller
// calls land when the request is over.
func (f *Front) pick(route *live) (_ Target, land func(), _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// The route was looked up a moment ago and may have been replaced since.
	now := f.keys[route.Key]
	if now == nil {
		return Target{}, nil, ErrNoRoute
	}
	target, ok := now.next()
	if !ok {
		return Target{}, nil, ErrNoTarget
	}
	flying := f.flying[target.Name]
	if flying == nil {
		flying = &flight{landed: make(chan struct{})}
		f.flying[target.Name] = flying
	}
	flying.requests++
	return target, func() { f.land(target.Name) }, nil
}

func (f *Front) land(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	flying := f.flying[name]
	if flying.requests--; flying.requests == 0 {
		close(flying.landed)
		delete(f.flying, name)
	}
}

// next is smooth weighted round robin: over any hundred requests each target
// gets exactly its percent, and a small share is spread out, not bunched.
func (l *live) next() (Target, bool) {
	best, total := -1, 0
	for i, t := range l.Targets {
		if t.Percent <= 0 {
			continue
		}
		l.credit[i] += t.Percent
		total += t.Percent
		if best < 0 || l.credit[i] > l.credit[best] {
			best = i
		}
	}
	if best < 0 {
		return Target{}, false
	}
	l.credit[best] -= total
	return l.Targets[best], true
}

// find returns the route of a request and the path that remains of its own.
//
// A path begins with the route's key: /run/LOCATION/NAME/..., or
// /p/PROJECT/run/LOCATION/NAME/... for a name that another project had first.
func (f *Front) find(host, path string) (*live, string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name, _, _ := strings.Cut(host, ":")
	if l := f.hosts[name]; l != nil {
		return l, path, true
	}
	segments := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 6)
	length := 3
	if segments[0] == "p" {
		length = 5
	}
	if len(segments) < length {
		return nil, "", false
	}
	// Only services have a path; what else has a key is reached by Call.
	if kind := segments[length-3]; kind != "run" {
		return nil, "", false
	}
	l := f.keys[strings.Join(segments[:length], "/")]
	return l, "/" + strings.Join(segments[length:], "/"), l != nil
}

func (f *Front) route(key string) (*live, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.keys[key]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNoRoute, key)
}
