// Package blob is bytes under a name, with generations.
package blob

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/tftctl/tftctl/pkg/fault"
)

// Store keeps small documents. A generation is a positive number that changes
// with every write of a name; it is how one of several writers wins.
type Store interface {
	// Get returns the content of name and its generation. NotFound: no such name.
	Get(ctx context.Context, name string) (content []byte, generation int64, err error)
	// Put writes content if the generation of name is still over, where 0 means
	// that there must be none, and returns the new generation. Stale: somebody
	// wrote before you; nothing has changed. A Put whose answer was lost on the
	// way may be repeated inside Put, but succeeds at most once.
	Put(ctx context.Context, name string, content []byte, over int64) (generation int64, err error)
	// List returns the names that begin with prefix, in lexical order.
	List(ctx context.Context, prefix string) ([]string, error)
	// Delete removes name if its generation is still over. Stale: it is not.
	// NotFound: no such name.
	Delete(ctx context.Context, name string, over int64) error
}

// Files keeps content that does not fit into memory. A name is written once.
type Files interface {
	// Upload stores what open returns under a name that must not exist. Sent is
	// told how many bytes have gone so far; it may be nil. Stale: the name exists.
	Upload(ctx context.Context, name string, open func() (io.ReadCloser, error), sent func(int64)) error
	// Download copies the content of name to w. NotFound: no such name.
	Download(ctx context.Context, name string, w io.Writer) error
}

// Memory is a Store and Files that lives as long as the process. The zero
// value is empty and ready.
type Memory struct {
	mu      sync.Mutex
	objects map[string]object
	last    int64
}

type object struct {
	content    []byte
	generation int64
}

var (
	_ Store = (*Memory)(nil)
	_ Files = (*Memory)(nil)
)

// Get implements Store.
func (m *Memory) Get(ctx context.Context, name string) ([]byte, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[name]
	if !ok {
		return nil, 0, notFound(name)
	}
	return slices.Clone(o.content), o.generation, nil
}

// Put implements Store.
func (m *Memory) Put(ctx context.Context, name string, content []byte, over int64) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.objects[name].generation != over {
		return 0, stale(name)
	}
	if m.objects == nil {
		m.objects = make(map[string]object)
	}
	m.last++
	m.objects[name] = object{slices.Clone(content), m.last}
	return m.last, nil
}

// List implements Store.
func (m *Memory) List(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.objects {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Delete implements Store.
func (m *Memory) Delete(ctx context.Context, name string, over int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[name]
	switch {
	case !ok:
		return notFound(name)
	case o.generation != over:
		return stale(name)
	}
	delete(m.objects, name)
	return nil
}

// Upload implements Files.
func (m *Memory) Upload(ctx context.Context, name string, open func() (io.ReadCloser, error), sent func(int64)) error {
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if _, err := m.Put(ctx, name, content, 0); err != nil {
		return err
	}
	if sent != nil {
		sent(int64(len(content)))
	}
	return nil
}

// Download implements Files.
func (m *Memory) Download(ctx context.Context, name string, w io.Writer) error {
	content, _, err := m.Get(ctx, name)
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}

func notFound(name string) error { return fault.Newf(fault.NotFound, "there is no %s", name) }
func stale(name string) error {
	return fault.Newf(fault.Stale, "somebody else has written %s meanwhile", name)
}
