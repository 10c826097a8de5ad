// Package state keeps everything the local cloud must still know after it was
// killed: one file, written in transactions that are on the disk before they
// return.
//
// Values lie under a kind ("run/service", "storage/object") and a key, which is
// a resource's name wherever there is one, so that a prefix scan is a List.
package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
	"google.golang.org/protobuf/proto"
)

// Schema is the version of the file that this package writes.
const Schema = schemaName + "1"

const schemaName = "tftctl/localcloud/v"

// lockWait is how long Open waits for whoever holds the file, so that a restart
// need not be timed: the old process lets go within it, or is not going.
const lockWait = time.Second

var (
	// ErrInUse is what Open returns while another process has the file open.
	ErrInUse = errors.New("another local cloud uses this folder")

	// ErrLaterSchema is what Open returns for a file of a schema version that
	// this program does not know yet.
	ErrLaterSchema = errors.New("the state was written by a later version of the local cloud")

	// ErrStop ends a Scan early and is not an error of the Scan.
	ErrStop = errors.New("stop the scan")
)

var (
	metaBucket  = []byte("meta")
	kindsBucket = []byte("kinds")
	schemaKey   = []byte("schema")
)

// Store is an open state file. It is safe for concurrent use: one writer at a
// time, any number of readers beside it.
type Store struct {
	db *bbolt.DB
}

// Open opens the file at path and makes it, with its folder, if it is not there.
//
// Errors: ErrInUse if another process holds it, ErrLaterSchema if a newer
// program wrote it.
func Open(path string) (*Store, error) {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the state: %w", err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait})
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, fmt.Errorf("open %s: %w", path, ErrInUse)
	case err != nil:
		return nil, fmt.Errorf("open the state in %s: %w", path, err)
	}
	if err := prepare(db, folder); err != nil {
		err = errors.Join(err, db.Close())
		return nil, fmt.Errorf("open the state in %s: %w", path, err)
	}
	return &Store{db: db}, nil
}

// prepare makes a new file ours, or makes sure that an old one is.
func prepare(db *bbolt.DB, folder string) error {
	var schema string
	var empty bool
	err := db.View(func(tx *bbolt.Tx) error {
		first, _ := tx.Cursor().First()
		empty = first == nil
		if meta := tx.Bucket(metaBucket); meta != nil {
			schema = string(meta.Get(schemaKey))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !empty {
		return checkSchema(schema)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucket(kindsBucket); err != nil {
			return err
		}
		return meta.Put(schemaKey, []byte(Schema))
	})
	if err != nil {
		return err
	}
	return syncFolder(folder) // a new file has a name only once its folder is on the disk
}

func checkSchema(schema string) error {
	if schema == Schema {
		return nil
	}
	number, ours := strings.CutPrefix(schema, schemaName)
	if _, err := strconv.Atoi(number); !ours || err != nil {
		return fmt.Errorf("not a local cloud's state (schema %q)", schema)
	}
	return fmt.Errorf("%w: it has schema %s, this program knows %s; use the newer program or another folder",
		ErrLaterSchema, schema, Schema)
}

func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Close waits for running transactions and lets go of the file.
func (s *Store) Close() error { return s.db.Close() }

// View runs fn over a state that does not change meanwhile. fn must not call
// Update: a writer may have to wait for its readers.
func (s *Store) View(fn func(*Tx) error) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		return fn(&Tx{kinds: tx.Bucket(kindsBucket)})
	})
}

// Update runs fn and stores all that it changed, or nothing if it returns an
// error. When Update returns nil the change is on the disk.
func (s *Store) Update(fn func(*Tx) error) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		return fn(&Tx{kinds: tx.Bucket(kindsBucket)})
	})
}

// Tx is a transaction. It ends with the function that it was handed to.
type Tx struct {
	kinds   *bbolt.Bucket
	changes int // so that a Scan knows whether its cursor is still good
}

// Get returns a copy of the value of key, or nil if there is none.
func (tx *Tx) Get(kind, key string) []byte {
	b := tx.kinds.Bucket([]byte(kind))
	if b == nil {
		return nil
	}
	v := b.Get([]byte(key))
	if v == nil {
		return nil
	}
	return append([]byte{}, v...) // an empty value is not a missing one
}

// Put stores v under key, in place of what was there.
func (tx *Tx) Put(kind, key string, v []byte) error {
	b, err := tx.kinds.CreateBucketIfNotExists([]byte(kind))
	if err != nil {
		return fmt.Errorf("store %s %q: %w", kind, key, err)
	}
	tx.changes++
	if err := b.Put([]byte(key), v); err != nil {
		return fmt.Errorf("store %s %q: %w", kind, key, err)
	}
	return nil
}

// Delete removes key; a key that is not there is no error.
func (tx *Tx) Delete(kind, key string) error {
	b := tx.kinds.Bucket([]byte(kind))
	if b == nil {
		return nil
	}
	tx.changes++
	if err := b.Delete([]byte(key)); err != nil {
		return fmt.Errorf("delete %s %q: %w", kind, key, err)
	}
	return nil
}

// Scan calls fn for every key of kind that begins with prefix, in the order of
// keys, with a copy of the value, until fn returns an error. ErrStop ends it
// without one.
//
// fn may put and delete; what it puts behind the current key is visited.
func (tx *Tx) Scan(kind, prefix string, fn func(key string, v []byte) error) error {
	return tx.ScanFrom(kind, prefix, prefix, fn)
}

// ScanFrom is Scan without the keys that come before start.
func (tx *Tx) ScanFrom(kind, prefix, start string, fn func(key string, v []byte) error) error {
	b := tx.kinds.Bucket([]byte(kind))
	if b == nil {
		return nil
	}
	if start < prefix {
		start = prefix
	}
	c := b.Cursor()
	k, v := c.Seek([]byte(start))
	for k != nil && bytes.HasPrefix(k, []byte(prefix)) {
		key, before := string(k), tx.changes
		err := fn(key, append([]byte{}, v...))
		if errors.Is(err, ErrStop) {
			return nil
		}
		if err != nil {
			return err
		}
		if tx.changes == before {
			k, v = c.Next()
		} else {
			// The least key behind this one: a cursor is lost once its tree changed.
			c = b.Cursor()
			k, v = c.Seek([]byte(key + "\x00"))
		}
	}
	return nil
}

// GetMessage reads the message under key into m and says whether there is one.
func (tx *Tx) GetMessage(kind, key string, m proto.Message) (bool, error) {
	v := tx.Get(kind, key)
	if v == nil {
		return false, nil
	}
	if err := proto.Unmarshal(v, m); err != nil {
		return false, fmt.Errorf("read %s %q: %w", kind, key, err)
	}
	return true, nil
}

// PutMessage stores m under key.
func (tx *Tx) PutMessage(kind, key string, m proto.Message) error {
	v, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("store %s %q: %w", kind, key, err)
	}
	return tx.Put(kind, key, v)
}

// Next returns 1, 2, 3 and so on for each kind, never the same number twice.
func (tx *Tx) Next(kind string) (uint64, error) {
	b, err := tx.kinds.CreateBucketIfNotExists([]byte(kind))
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", kind, err)
	}
	tx.changes++
	n, err := b.NextSequence()
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", kind, err)
	}
	return n, nil
}
