package storage

import (
	"crypto/md5" //nolint:gosec // Cloud Storage's checksum, not a protection
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// blobs are files named by the SHA-256 of what they hold, beside the files that
// are still being received.
//
// The gate orders the two things that must not cross: whoever refers to a file
// (putting it there and committing the reference, or looking a reference up and
// opening the file) holds it for reading, whoever removes files without a
// reference holds it for writing. A file that is open stays readable after that.
type blobs struct {
	whole, parts string
	gate         sync.RWMutex
}

func openBlobs(dir string) (*blobs, error) {
	b := &blobs{whole: filepath.Join(dir, "sha256"), parts: filepath.Join(dir, "parts")}
	for _, d := range []string{b.whole, b.parts} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	return b, syncFolder(dir)
}

// sums are an object's checksums, as Cloud Storage writes them.
type sums struct {
	CRC32C string `json:"crc32c,omitempty"` // base64 of four bytes, big-endian
	MD5    string `json:"md5,omitempty"`    // base64; a composed object has none
}

// draft is a file whose bytes are complete and known, and to which nothing
// refers yet.
type draft struct {
	path   string
	size   int64
	sha256 string
	sums   sums
}

// receive writes r to a file of its own and flushes it. An error of r is a
// receiveError, so that the caller can tell its client.
func (b *blobs) receive(r io.Reader) (*draft, error) {
	f, err := os.CreateTemp(b.parts, "incoming-*")
	if err != nil {
		return nil, err
	}
	from := &sender{Reader: r}
	d, err := digest(io.TeeReader(from, f))
	if from.failed != nil {
		err = &receiveError{from.failed}
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	d.path = f.Name()
	return d, nil
}

// digest reads r to its end.
func digest(r io.Reader) (*draft, error) {
	sha, md, crc := sha256.New(), md5.New(), crc32.New(crc32.MakeTable(crc32.Castagnoli)) //nolint:gosec // see the import
	n, err := io.Copy(io.MultiWriter(sha, md, crc), r)
	if err != nil {
		return nil, err
	}
	return &draft{
		size:   n,
		sha256: hex.EncodeToString(sha.Sum(nil)),
		sums:   sums{CRC32C: encodeCRC(crc), MD5: base64.StdEncoding.EncodeToString(md.Sum(nil))},
	}, nil
}

// sender remembers that it was the reader that failed, not the file beside it.
type sender struct {
	io.Reader
	failed error
}

func (s *sender) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed = err
	}
	return n, err
}

// receiveError is an error of whoever sends the bytes.
type receiveError struct{ cause error }

func (e *receiveError) Error() string { return "receive: " + e.cause.Error() }
func (e *receiveError) Unwrap() error { return e.cause }

func encodeCRC(h hash.Hash32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, h.Sum32()))
}

// discard removes a draft that nobody wants. It is harmless after keep.
func (d *draft) discard() { os.Remove(d.path) } //nolint:errcheck // what stays now goes with the next start

// keep gives d the name by which it can be referred to. The caller holds the
// gate until the reference is committed.
func (b *blobs) keep(d *draft) error {
	if err := os.Rename(d.path, b.path(d.sha256)); err != nil {
		return err
	}
	return syncFolder(b.whole)
}

func (b *blobs) path(sha string) string { return filepath.Join(b.whole, sha) }

// open opens the bytes of an object. The caller holds the gate.
func (b *blobs) open(sha string) (*os.File, error) { return os.Open(b.path(sha)) }

// remove deletes those of names that isWanted does not want.
func (b *blobs) remove(names []string, isWanted func(sha string) (bool, error)) error {
	if len(names) == 0 {
		return nil
	}
	b.gate.Lock()
	defer b.gate.Unlock()
	for _, sha := range names {
		wanted, err := isWanted(sha)
		if err != nil {
			return err
		}
		if wanted {
			continue
		}
		if err := os.Remove(b.path(sha)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// syncParts makes the names of open uploads' files last.
func (b *blobs) syncParts() error { return syncFolder(b.parts) }

// part is the file of an open upload.
func (b *blobs) part(id string) string { return filepath.Join(b.parts, id) }

// removeParts deletes the files of uploads that are over. What cannot be removed
// now goes with the next start.
func (b *blobs) removeParts(ids []string) {
	for _, id := range ids {
		os.Remove(b.part(id)) //nolint:errcheck // see above
	}
}

// seal makes a draft of the first size bytes of an open upload. The upload keeps
// its own name for them, so that it can go on if the draft comes to nothing.
func (b *blobs) seal(id string, size int64) (*draft, error) {
	f, err := os.Open(b.part(id))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, err := digest(io.LimitReader(f, size))
	if err != nil {
		return nil, err
	}
	if d.size != size {
		return nil, fmt.Errorf("upload %s has %d bytes, and %d were acknowledged", id, d.size, size)
	}
	d.path = b.part("sealed-" + id)
	if err := os.Remove(d.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return d, os.Link(b.part(id), d.path)
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("flush the folder %s: %w", path, err)
	}
	return nil
}
