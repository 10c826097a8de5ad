package storage

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// The kinds of things that are stored.
const (
	bucketKind = "storage/bucket" // by name
	objectKind = "storage/object" // by bucket, name, generation
	blobKind   = "storage/blob"   // number of references, by SHA-256
	uploadKind = "storage/upload" // by id
	clockKind  = "storage/clock"  // the last generation
)

// bucketRecord is a bucket. Fields is what callers may set, as they set it.
type bucketRecord struct {
	Name           string         `json:"name"`
	Project        string         `json:"project"`
	Metageneration int64          `json:"metageneration"`
	Created        time.Time      `json:"created"`
	Updated        time.Time      `json:"updated"`
	Fields         map[string]any `json:"fields"`
	Policy         map[string]any `json:"policy,omitempty"` // nil: the default one
	PolicyChanges  int64          `json:"policyChanges,omitempty"`
}

// objectRecord is one generation of an object.
type objectRecord struct {
	Bucket         string         `json:"bucket"`
	Name           string         `json:"name"`
	Generation     int64          `json:"generation"`
	Metageneration int64          `json:"metageneration"`
	Size           int64          `json:"size"`
	SHA256         string         `json:"sha256"`
	Sums           sums           `json:"sums"`
	Components     int64          `json:"components,omitempty"` // of a composed object
	Created        time.Time      `json:"created"`
	Updated        time.Time      `json:"updated"`
	Deleted        time.Time      `json:"deleted,omitzero"` // when it became noncurrent
	Fields         map[string]any `json:"fields"`
}

func (b *bucketRecord) etag() string { return etag(b.Metageneration, b.PolicyChanges) }
func (o *objectRecord) etag() string { return etag(o.Generation, o.Metageneration) }

// etag tells two states apart, and looks like Google's.
func etag(one, two int64) string {
	tag := binary.AppendUvarint([]byte{0x08}, uint64(one))
	tag = binary.AppendUvarint(append(tag, 0x10), uint64(two))
	return base64.StdEncoding.EncodeToString(tag)
}

// setting reads a value at a path of names in fields.
func setting[T any](fields map[string]any, path ...string) T {
	var zero T
	for _, name := range path[:len(path)-1] {
		fields, _ = fields[name].(map[string]any)
	}
	if v, ok := fields[path[len(path)-1]].(T); ok {
		return v
	}
	return zero
}

func (b *bucketRecord) isVersioned() bool { return setting[bool](b.Fields, "versioning", "enabled") }

// txn is a transaction over what this package stores.
type txn struct {
	*state.Tx
	now   time.Time
	freed []string // blobs that lost a reference
}

// view runs find while no blob can be removed, so that what it found can be
// opened.
func (s *Server) view(find func(*txn) error) error {
	return s.store.View(func(tx *state.Tx) error { return find(&txn{Tx: tx, now: s.now().UTC()}) })
}

// update runs change in one transaction and removes the data that nobody refers
// to afterwards. d is what change refers to anew, or nil; either way it is used up.
func (s *Server) update(d *draft, change func(*txn) error) error {
	var freed []string
	err := func() error {
		s.blobs.gate.RLock()
		defer s.blobs.gate.RUnlock()
		if d != nil {
			defer d.discard()
			freed = append(freed, d.sha256)
			if err := s.blobs.keep(d); err != nil {
				return err
			}
		}
		return s.store.Update(func(tx *state.Tx) error {
			t := &txn{Tx: tx, now: s.now().UTC()}
			err := change(t)
			freed = append(freed, t.freed...)
			return err
		})
	}()
	if removeErr := s.blobs.remove(freed, s.isReferred); removeErr != nil {
		// The answer to the caller does not depend on it, and the next start sweeps.
		s.log.Warn("data that nothing refers to was left behind", "error", removeErr)
	}
	return err
}

func (s *Server) isReferred(sha string) (bool, error) {
	var found bool
	err := s.store.View(func(tx *state.Tx) error {
		found = tx.Get(blobKind, sha) != nil
		return nil
	})
	return found, err
}

// sweep removes what a process that was killed between two steps left behind.
func (s *Server) sweep() error {
	whole, err := os.ReadDir(s.blobs.whole)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range whole {
		names = append(names, e.Name())
	}
	if err := s.blobs.remove(names, s.isReferred); err != nil {
		return err
	}
	parts, err := os.ReadDir(s.blobs.parts)
	if err != nil {
		return err
	}
	return s.view(func(tx *txn) error {
		var errs []error
		for _, e := range parts {
			if tx.Get(uploadKind, e.Name()) == nil {
				errs = append(errs, os.Remove(s.blobs.part(e.Name())))
			}
		}
		return errors.Join(errs...)
	})
}

func (tx *txn) read(kind, key string, into any) (bool, error) {
	text := tx.Get(kind, key)
	if text == nil {
		return false, nil
	}
	if err := decode(text, into); err != nil {
		return false, fmt.Errorf("read %s %q: %w", kind, key, err)
	}
	return true, nil
}

func (tx *txn) write(kind, key string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("store %s %q: %w", kind, key, err)
	}
	return tx.Put(kind, key, text)
}

// decode keeps numbers as they were written.
func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(into)
}

// bucket returns the bucket of that name, or the refusal that there is none.
func (tx *txn) bucket(name string) (*bucketRecord, error) {
	b := &bucketRecord{}
	found, err := tx.read(bucketKind, name, b)
	if err == nil && !found {
		err = noBucket(name)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (tx *txn) putBucket(b *bucketRecord) error { return tx.write(bucketKind, b.Name, b) }

// objectKey sorts by bucket, then name, then generation: names hold no NUL.
func objectKey(bucket, name string, generation int64) string {
	return fmt.Sprintf("%s%020d", generationsOf(bucket, name), generation)
}

func generationsOf(bucket, name string) string { return bucket + "\x00" + name + "\x00" }

// live returns the current generation of an object, or nil. It is the last one:
// whatever has a later one, or none after it was deleted, says when that was.
func (tx *txn) live(bucket, name string) (*objectRecord, error) {
	var last []byte
	err := tx.Scan(objectKind, generationsOf(bucket, name), func(_ string, v []byte) error {
		last = v
		return nil
	})
	if err != nil || last == nil {
		return nil, err
	}
	o := &objectRecord{}
	if err := decode(last, o); err != nil {
		return nil, fmt.Errorf("read object %s/%s: %w", bucket, name, err)
	}
	if !o.Deleted.IsZero() {
		return nil, nil
	}
	return o, nil
}

// object returns a generation of an object that exists, 0 for the live one, or
// the refusal that there is none.
func (tx *txn) object(bucket, name string, generation int64) (*objectRecord, error) {
	if _, err := tx.bucket(bucket); err != nil {
		return nil, err
	}
	var o *objectRecord
	var err error
	if generation == 0 {
		o, err = tx.live(bucket, name)
	} else {
		o = &objectRecord{}
		var found bool
		if found, err = tx.read(objectKind, objectKey(bucket, name, generation), o); !found {
			o = nil
		}
	}
	if err == nil && o == nil {
		err = noObject(bucket, name)
	}
	return o, err
}

func (tx *txn) putObject(o *objectRecord) error {
	return tx.write(objectKind, objectKey(o.Bucket, o.Name, o.Generation), o)
}

// nextGeneration looks like the microseconds that Google's are, and grows even
// when the clock does not.
func (tx *txn) nextGeneration() (int64, error) {
	last, err := strconv.ParseInt(cmp.Or(string(tx.Get(clockKind, "generation")), "0"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the last generation: %w", err)
	}
	next := max(tx.now.UnixMicro(), last+1)
	return next, tx.Put(clockKind, "generation", strconv.AppendInt(nil, next, 10))
}

// newObject is what becomes a generation: of whom, under which conditions.
type newObject struct {
	Bucket     string
	Name       string
	Fields     map[string]any
	Conditions conditions
}

// content is what a generation holds.
type content struct {
	size       int64
	sha256     string
	sums       sums
	components int64
}

func (d *draft) content() content { return content{size: d.size, sha256: d.sha256, sums: d.sums} }

// insert makes a new generation, if what is there allows it.
func (tx *txn) insert(n newObject, holding content) (*objectRecord, error) {
	b, err := tx.bucket(n.Bucket)
	if err != nil {
		return nil, err
	}
	if err := tx.mayInsert(b, n); err != nil {
		return nil, err
	}
	if err := tx.retire(b, n.Name); err != nil {
		return nil, err
	}
	generation, err := tx.nextGeneration()
	if err != nil {
		return nil, err
	}
	o := &objectRecord{
		Bucket: n.Bucket, Name: n.Name, Generation: generation, Metageneration: 1,
		Size: holding.size, SHA256: holding.sha256, Sums: holding.sums, Components: holding.components,
		Created: tx.now, Updated: tx.now, Fields: objectDefaults(n.Fields, b),
	}
	if err := tx.refer(o.SHA256, 1); err != nil {
		return nil, err
	}
	return o, tx.putObject(o)
}

// mayInsert is asked twice about a resumable upload: when it starts, and when it
// would become an object.
func (tx *txn) mayInsert(b *bucketRecord, n newObject) error {
	live, err := tx.live(n.Bucket, n.Name)
	if err != nil {
		return err
	}
	if err := n.Conditions.check(live); err != nil {
		return err
	}
	if live == nil {
		return nil
	}
	return mayGo(live, b, tx.now)
}

// retire makes the live generation noncurrent, or removes it from a bucket that
// keeps none.
func (tx *txn) retire(b *bucketRecord, name string) error {
	live, err := tx.live(b.Name, name)
	if err != nil || live == nil {
		return err
	}
	if !b.isVersioned() {
		return tx.remove(live)
	}
	live.Deleted = tx.now
	return tx.putObject(live)
}

// remove takes one generation away for good.
func (tx *txn) remove(o *objectRecord) error {
	if err := tx.Delete(objectKind, objectKey(o.Bucket, o.Name, o.Generation)); err != nil {
		return err
	}
	return tx.refer(o.SHA256, -1)
}

// refer counts the generations that hold the same bytes.
func (tx *txn) refer(sha string, more int64) error {
	count, err := strconv.ParseInt(cmp.Or(string(tx.Get(blobKind, sha)), "0"), 10, 64)
	if err != nil {
		return fmt.Errorf("read the references to %s: %w", sha, err)
	}
	if count += more; count > 0 {
		return tx.Put(blobKind, sha, strconv.AppendInt(nil, count, 10))
	}
	tx.freed = append(tx.freed, sha)
	return tx.Delete(blobKind, sha)
}
