// Package gcs is a blob.Store over a Cloud Storage bucket.
package gcs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"

	"github.com/tftctl/tftctl/pkg/blob"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/gcp"
)

// Bucket is a handle on a Cloud Storage bucket.
type Bucket struct {
	name   string
	place  gcp.Endpoint
	client func() (*storage.Client, error)
}

var (
	_ blob.Store = (*Bucket)(nil)
	_ blob.Files = (*Bucket)(nil)
)

// Open returns a handle on the bucket called name. It cannot fail and costs
// nothing: the client is made by the first call that needs it.
func Open(place gcp.Endpoint, name string) *Bucket {
	return &Bucket{name: name, place: place, client: sync.OnceValues(func() (*storage.Client, error) {
		ctx := context.Background() // the client outlives the call that makes it
		opts, err := place.StorageOptions(ctx)
		if err != nil {
			return nil, err
		}
		return storage.NewClient(ctx, append(opts, storage.WithJSONReads())...)
	})}
}

// String returns the bucket as users write it.
func (b *Bucket) String() string { return "gs://" + b.name }

func (b *Bucket) object(name string) (*storage.ObjectHandle, error) {
	c, err := b.client()
	if err != nil {
		return nil, gcp.Fault(err)
	}
	return c.Bucket(b.name).Object(name), nil
}

// Ensure makes the bucket in the endpoint's region unless it exists.
func (b *Bucket) Ensure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := b.client()
	if err != nil {
		return gcp.Fault(err)
	}
	_, err = c.Bucket(b.name).Attrs(ctx)
	if !errors.Is(err, storage.ErrBucketNotExist) {
		return b.wrap("look for", "", err)
	}
	err = c.Bucket(b.name).Create(ctx, b.place.Project, &storage.BucketAttrs{
		Location:                 b.place.Region,
		UniformBucketLevelAccess: storage.UniformBucketLevelAccess{Enabled: true},
	})
	err = b.wrap("create", "", err)
	if fault.KindOf(err) == fault.Stale {
		_, err = c.Bucket(b.name).Attrs(ctx) // somebody else made it meanwhile
		return b.wrap("look for", "", err)
	}
	return err
}

// patience bounds a call about one small object. The client repeats what
// fails for as long as its context lives, and a store that is gone must be said.
const patience = 20 * time.Second

// Get implements blob.Store.
func (b *Bucket) Get(ctx context.Context, name string) ([]byte, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o, err := b.object(name)
	if err != nil {
		return nil, 0, err
	}
	r, err := o.NewReader(ctx)
	if err != nil {
		return nil, 0, b.wrap("read", name, err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, 0, b.wrap("read", name, err)
	}
	return content, r.Attrs.Generation, nil
}

// writeID is the metadata key by which a writer knows its own write again when
// the client repeated it after a lost answer.
const writeID = "tftctl-write"

// Put implements blob.Store.
func (b *Bucket) Put(ctx context.Context, name string, content []byte, over int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o, err := b.object(name)
	if err != nil {
		return 0, err
	}
	id := rand.Text()
	w := o.If(conditions(over)).NewWriter(ctx)
	w.ContentType = "application/json"
	w.Metadata = map[string]string{writeID: id}
	w.CRC32C, w.SendCRC32C = crc32.Checksum(content, castagnoli), true
	_, err = w.Write(content)
	if err = errors.Join(err, w.Close()); err == nil {
		return w.Attrs().Generation, nil
	}
	err = b.wrap("write", name, err)
	if fault.KindOf(err) == fault.Stale {
		if attrs, lookErr := o.Attrs(ctx); lookErr == nil && attrs.Metadata[writeID] == id {
			return attrs.Generation, nil
		}
	}
	return 0, err
}

func conditions(over int64) storage.Conditions {
	if over == 0 {
		return storage.Conditions{DoesNotExist: true}
	}
	return storage.Conditions{GenerationMatch: over}
}

// List implements blob.Store.
func (b *Bucket) List(ctx context.Context, prefix string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := b.client()
	if err != nil {
		return nil, gcp.Fault(err)
	}
	q := &storage.Query{Prefix: prefix}
	if err := q.SetAttrSelection([]string{"Name"}); err != nil {
		return nil, err
	}
	var names []string
	for it := c.Bucket(b.name).Objects(ctx, q); ; {
		attrs, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return names, nil
		}
		if err != nil {
			return nil, b.wrap("list", prefix, err)
		}
		names = append(names, attrs.Name)
	}
}

// Delete implements blob.Store.
func (b *Bucket) Delete(ctx context.Context, name string, over int64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o, err := b.object(name)
	if err != nil {
		return err
	}
	return b.wrap("delete", name, o.If(storage.Conditions{GenerationMatch: over}).Delete(ctx))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Upload implements blob.Files: resumable, with the checksum sent from the
// start, so that an object exists only when it is whole.
func (b *Bucket) Upload(ctx context.Context, name string, open func() (io.ReadCloser, error), sent func(int64)) error {
	o, err := b.object(name)
	if err != nil {
		return err
	}
	sum, err := checksum(open)
	if err != nil {
		return err
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a writer that is not closed is ended by its context: nothing is stored
	w := o.If(storage.Conditions{DoesNotExist: true}).NewWriter(ctx)
	w.CRC32C, w.SendCRC32C = sum, true
	w.ProgressFunc = sent
	n, err := io.Copy(w, r)
	if err != nil {
		return b.wrap("upload", name, err)
	}
	if err := w.Close(); err != nil {
		return b.wrap("upload", name, err)
	}
	if sent != nil {
		sent(n)
	}
	return nil
}

func checksum(open func() (io.ReadCloser, error)) (uint32, error) {
	r, err := open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	h := crc32.New(castagnoli)
	if _, err := io.Copy(h, r); err != nil {
		return 0, err
	}
	return h.Sum32(), nil
}

// Download implements blob.Files.
func (b *Bucket) Download(ctx context.Context, name string, w io.Writer) error {
	o, err := b.object(name)
	if err != nil {
		return err
	}
	r, err := o.NewReader(ctx)
	if err != nil {
		return b.wrap("read", name, err)
	}
	defer r.Close()
	if _, err := io.Copy(w, r); err != nil {
		return b.wrap("read", name, err)
	}
	return nil
}

// wrap puts verb and object before err, in our words; nil stays nil.
func (b *Bucket) wrap(verb, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storage.ErrObjectNotExist):
		err = fault.Wrap(fault.NotFound, err, "no such object")
	case errors.Is(err, storage.ErrBucketNotExist):
		err = fault.Wrap(fault.NotFound, err, "no such bucket").WithHint("`tftctl model push` makes the bucket; is %s the one that tftctl.yaml names?", b)
	}
	target := b.String()
	if name != "" {
		target += "/" + name
	}
	return fmt.Errorf("%s %s: %w", verb, target, gcp.Fault(err))
}
