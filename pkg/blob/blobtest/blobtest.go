// Package blobtest is the contract of a blob.Store and blob.Files, as a test
// suite that every implementation runs.
package blobtest

import (
	"bytes"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tftctl/tftctl/pkg/blob"
	"github.com/tftctl/tftctl/pkg/fault"
)

// Store is what Run tests: both interfaces over the same names.
type Store interface {
	blob.Store
	blob.Files
}

// Run tests the stores that open makes: an empty one for each call.
func Run(t *testing.T, open func(testing.TB) Store) {
	t.Run("gives back what was put", func(t *testing.T) {
		s := open(t)
		wrote, err := s.Put(t.Context(), "a/b", []byte("one"), 0)
		if err != nil {
			t.Fatal(err)
		}
		got, read, err := s.Get(t.Context(), "a/b")
		if err != nil || string(got) != "one" || read != wrote || wrote <= 0 {
			t.Errorf("got %q at generation %d, %v; want %q at %d", got, read, err, "one", wrote)
		}
	})

	t.Run("says NotFound of what is not there", func(t *testing.T) {
		s := open(t)
		_, _, getErr := s.Get(t.Context(), "none")
		for verb, err := range map[string]error{
			"Get":      getErr,
			"Delete":   s.Delete(t.Context(), "none", 1),
			"Download": s.Download(t.Context(), "none", io.Discard),
		} {
			if fault.KindOf(err) != fault.NotFound {
				t.Errorf("%s of a name that does not exist: %v, want a fault of kind NotFound", verb, err)
			}
		}
	})

	t.Run("refuses a write over another generation and changes nothing", func(t *testing.T) {
		s := open(t)
		first, err := s.Put(t.Context(), "n", []byte("one"), 0)
		if err != nil {
			t.Fatal(err)
		}
		second, err := s.Put(t.Context(), "n", []byte("two"), first)
		if err != nil || second == first {
			t.Fatalf("second write: generation %d after %d, %v", second, first, err)
		}
		_, again := s.Put(t.Context(), "n", []byte("three"), 0)
		_, old := s.Put(t.Context(), "n", []byte("three"), first)
		for what, err := range map[string]error{
			"Put over none": again, "Put over an old one": old, "Delete of an old one": s.Delete(t.Context(), "n", first),
		} {
			if fault.KindOf(err) != fault.Stale {
				t.Errorf("%s: %v, want a fault of kind Stale", what, err)
			}
		}
		if got, _, _ := s.Get(t.Context(), "n"); string(got) != "two" {
			t.Errorf("content is %q after refused writes, want %q", got, "two")
		}
	})

	t.Run("lists by prefix in lexical order", func(t *testing.T) {
		s := open(t)
		for _, n := range []string{"b/2", "a/1", "b/10", "c"} {
			if _, err := s.Put(t.Context(), n, []byte(n), 0); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.List(t.Context(), "b/")
		if want := []string{"b/10", "b/2"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("List = %q, %v; want %q", got, err, want)
		}
	})

	t.Run("forgets what was deleted", func(t *testing.T) {
		s := open(t)
		g, err := s.Put(t.Context(), "n", []byte("one"), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), "n", g); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Get(t.Context(), "n"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("Get after Delete: %v, want NotFound", err)
		}
		if _, err := s.Put(t.Context(), "n", []byte("two"), 0); err != nil {
			t.Errorf("Put after Delete: %v", err)
		}
	})

	t.Run("of many writers over one generation one wins", func(t *testing.T) {
		s := open(t)
		var wins atomic.Int32
		var writers sync.WaitGroup
		for range 8 {
			writers.Go(func() {
				switch _, err := s.Put(t.Context(), "lock", []byte("mine"), 0); {
				case err == nil:
					wins.Add(1)
				case fault.KindOf(err) != fault.Stale:
					t.Errorf("a loser got %v, want a fault of kind Stale", err)
				}
			})
		}
		writers.Wait()
		if got := wins.Load(); got != 1 {
			t.Errorf("%d writers won, want 1", got)
		}
	})

	t.Run("moves files and writes a name once", func(t *testing.T) {
		s := open(t)
		content := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // 2 MiB
		from := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
		var last int64
		if err := s.Upload(t.Context(), "m/model.onnx", from, func(n int64) { last = n }); err != nil {
			t.Fatal(err)
		}
		if last != int64(len(content)) {
			t.Errorf("told of %d bytes sent, want %d", last, len(content))
		}
		if err := s.Upload(t.Context(), "m/model.onnx", from, nil); fault.KindOf(err) != fault.Stale {
			t.Errorf("second upload: %v, want a fault of kind Stale", err)
		}
		var got bytes.Buffer
		if err := s.Download(t.Context(), "m/model.onnx", &got); err != nil || !bytes.Equal(got.Bytes(), content) {
			t.Errorf("downloaded %d bytes, %v; want the %d that were uploaded", got.Len(), err, len(content))
		}
	})
}
