// Package roster is the models being served, by name and version, exchanged
// while requests run.
package roster

import (
	"sync"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/serve/predict"
)

// Roster holds one model at a time, or none yet.
type Roster struct {
	mu      sync.Mutex
	current *entry
}

var _ predict.Finder = (*Roster)(nil)

// entry is a model with the number of those who use it; the roster is one of them.
type entry struct {
	model *predict.Model
	users int
	close func()
}

// New returns a Roster that serves nothing yet.
func New() *Roster { return &Roster{} }

// Enter makes m the current model. Free frees it and is called once, when
// another has taken its place and its last request has ended.
func (r *Roster) Enter(m *predict.Model, free func()) {
	r.mu.Lock()
	before := r.current
	r.current = &entry{model: m, users: 1, close: free}
	r.mu.Unlock()
	r.leave(before)
}

// Clear takes the current model out of service.
func (r *Roster) Clear() {
	r.mu.Lock()
	before := r.current
	r.current = nil
	r.mu.Unlock()
	r.leave(before)
}

// Serving tells whether there is a model.
func (r *Roster) Serving() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current != nil
}

// Find returns the current model, where it is the one asked for.
func (r *Roster) Find(name, version string) (*predict.Model, func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.current
	switch {
	case e == nil:
		return nil, nil, fault.Newf(fault.Unavailable, "no model is loaded yet").WithHint("wait until /health/ready answers 200")
	case name != "" && name != e.model.Name:
		return nil, nil, fault.Newf(fault.NotFound, "no model is called %q", name).WithHint("this server serves %q", e.model.Name)
	case version != "" && version != e.model.Version:
		return nil, nil, fault.Newf(fault.NotFound, "model %q has no version %q here", e.model.Name, version).
			WithHint("leave the version out to get the current one")
	}
	e.users++
	return e.model, sync.OnceFunc(func() { r.leave(e) }), nil
}

// leave takes one user from e and closes it after the last.
func (r *Roster) leave(e *entry) {
	if e == nil {
		return
	}
	r.mu.Lock()
	e.users--
	last := e.users == 0
	r.mu.Unlock()
	if last {
		e.close()
	}
}
