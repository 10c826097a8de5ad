// Package storage plays a strict subset of Cloud Storage: the JSON API, and the
// XML reads that Google's Go client makes by default.
//
// It is strict because a deployer's safety rests on it: preconditions are
// checked in the transaction that changes something, checksums before it, and
// what is not understood is refused by name. A refused request changes nothing.
//
// Metadata lies in the state store, bytes in files named by their SHA-256.
package storage

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// Options are what a Server can be told; the zero value is a good one.
type Options struct {
	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // told what went wrong inside; nil: nobody
	// ProjectNumber answers the number of a project, for a bucket's
	// projectNumber. nil: buckets do not tell.
	ProjectNumber func(project string) uint64
}

// Server is an http.Handler for everything under /storage/, /upload/ and
// /download/, and for GET and HEAD of /BUCKET/OBJECT.
//
// It reads the path as it was escaped: an object's slashes come as %2F. So it
// must not stand behind a ServeMux, which cleans paths.
type Server struct {
	store   *state.Store
	blobs   *blobs
	uploads keyLock
	now     func() time.Time
	log     *slog.Logger
	number  func(project string) uint64
}

// New returns a Server over what store and blobDir hold, and removes from
// blobDir what a killed process left there unfinished.
//
// The caller closes store once the Server answers no more requests.
func New(store *state.Store, blobDir string, opts Options) (*Server, error) {
	s := &Server{store: store, now: opts.Now, log: opts.Log, number: opts.ProjectNumber}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(blobDir)
	if err != nil {
		return nil, fmt.Errorf("open the objects' data: %w", err)
	}
	if s.blobs, err = openBlobs(dir); err != nil {
		return nil, fmt.Errorf("open the objects' data: %w", err)
	}
	if err := s.expireUploads(); err != nil {
		return nil, fmt.Errorf("open the objects' data: %w", err)
	}
	if err := s.sweep(); err != nil {
		return nil, fmt.Errorf("tidy the objects' data: %w", err)
	}
	return s, nil
}

// maxUnread is how much of a body is read although nobody wants it. A client
// that is still sending when its connection closes may lose the answer, and
// Google's then sends all of it again; its chunks have 16 MiB.
const maxUnread = 64 << 20

// ServeHTTP answers one request of the JSON API, or one XML read.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := match(r)
	var answer *reply
	if err == nil {
		answer, err = c.route.handle(s, c)
	}
	// An error says that nobody is there any more, and the answer finds out itself.
	_, _ = io.CopyN(io.Discard, r.Body, maxUnread)
	if err != nil {
		s.refuse(w, r, err, c != nil && c.route.xml)
		return
	}
	answer.write(w, r)
}
