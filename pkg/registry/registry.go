// Package registry is model versions at rest: immutable, content-addressed,
// in a bucket.
package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tftctl/tftctl/pkg/blob"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
)

// Store is where versions rest.
type Store interface {
	blob.Store
	blob.Files
}

// Registry is the versions of one model. In its store
//
//	models/NAME/content/sha256-DIGEST/…   holds a bundle's files, its manifest last,
//	models/NAME/versions/000013.json      says which content version 13 is.
type Registry struct {
	store Store
	name  string
}

// New returns the registry of the model called name.
func New(store Store, name string) *Registry { return &Registry{store, name} }

// Record is what is known of one version. It is written once.
type Record struct {
	Schema   string        `json:"schema"` // RecordSchema
	Name     string        `json:"name"`
	Version  model.Version `json:"version"`
	Digest   model.Digest  `json:"digest"`
	Bytes    int64         `json:"bytes"`
	PushedAt time.Time     `json:"pushed_at"`
}

// RecordSchema is the version of Record's stored form.
const RecordSchema = "tftctl/model-version/v1"

// Prefix returns where the bundle with digest d rests, relative to the store.
func (r *Registry) Prefix(d model.Digest) string {
	return "models/" + r.name + "/content/sha256-" + d.Hex()
}

func (r *Registry) recordName(v model.Version) string {
	return fmt.Sprintf("models/%s/versions/%06d.json", r.name, int(v))
}

// Push stores bundle b as version v, or as the next one where v is 0, and
// returns its record. Content that is there already is not sent again; a
// version that holds the same content already is returned as it is, with
// created false. Sent is told of bytes as they go; it may be nil.
//
// Errors: Blocked where v holds other content; Corrupt where a file of b
// changes while it is read.
func (r *Registry) Push(ctx context.Context, b *model.Bundle, v model.Version, sent func(done, all int64)) (rec Record, created bool, err error) {
	if b.Manifest.Name != r.name {
		return Record{}, false, fault.Newf(fault.Invalid, "the bundle holds a model called %q, not %q", b.Manifest.Name, r.name).
			WithHint("push it under its own name, or set model.name in tftctl.yaml")
	}
	if rec, ok, err := r.find(ctx, b.Digest, v); ok || err != nil {
		return rec, false, err
	}
	if err := r.upload(ctx, b, sent); err != nil {
		return Record{}, false, err
	}
	rec = Record{RecordSchema, r.name, v, b.Digest, b.Manifest.Size(), time.Now().UTC().Truncate(time.Second)}
	for {
		if v == 0 {
			if rec.Version, err = r.next(ctx); err != nil {
				return Record{}, false, err
			}
		}
		content, err := json.MarshalIndent(rec, "", "  ")
		if err != nil {
			return Record{}, false, err
		}
		_, err = r.store.Put(ctx, r.recordName(rec.Version), content, 0)
		switch {
		case err == nil:
			return rec, true, nil
		case fault.KindOf(err) != fault.Stale:
			return Record{}, false, err
		}
		// Somebody pushed at the same moment: perhaps the same content.
		if rec, ok, err := r.find(ctx, b.Digest, v); ok || err != nil {
			return rec, false, err
		}
	}
}

// find returns the record that holds content d: version v, or any where v is 0.
func (r *Registry) find(ctx context.Context, d model.Digest, v model.Version) (Record, bool, error) {
	if v != 0 {
		rec, err := r.Get(ctx, v)
		switch {
		case fault.KindOf(err) == fault.NotFound && err != nil:
			return Record{}, false, nil
		case err != nil:
			return Record{}, false, err
		case rec.Digest != d:
			return Record{}, false, fault.Newf(fault.Blocked, "%s@%d holds other content already (%s, not %s)", r.name, v, rec.Digest.Short(), d.Short()).
				WithHint("a version never changes: push without --version to get the next one")
		}
		return rec, true, nil
	}
	all, err := r.List(ctx)
	if err != nil {
		return Record{}, false, err
	}
	for _, rec := range slices.Backward(all) {
		if rec.Digest == d {
			return rec, true, nil
		}
	}
	return Record{}, false, nil
}

func (r *Registry) next(ctx context.Context) (model.Version, error) {
	all, err := r.List(ctx)
	if err != nil {
		return 0, err
	}
	if len(all) == 0 {
		return 1, nil
	}
	return all[len(all)-1].Version + 1, nil
}

// upload sends the files of b, then the manifest: where a manifest is, its
// files are.
func (r *Registry) upload(ctx context.Context, b *model.Bundle, sent func(done, all int64)) error {
	prefix, all, done := r.Prefix(b.Digest), b.Manifest.Size(), int64(0)
	for _, f := range append(slices.Clone(b.Manifest.Files), model.File{Path: model.ManifestFile}) {
		open := func() (io.ReadCloser, error) { return os.Open(filepath.Join(b.Dir, filepath.FromSlash(f.Path))) }
		progress := func(n int64) {
			if sent != nil {
				sent(min(done+n, all), all)
			}
		}
		err := r.store.Upload(ctx, prefix+"/"+f.Path, open, progress)
		if err != nil && fault.KindOf(err) != fault.Stale { // Stale: it is there, whole, under this digest
			return err
		}
		done += f.Bytes
	}
	// Read the manifest back: what was stored is what was promised.
	content, _, err := r.store.Get(ctx, prefix+"/"+model.ManifestFile)
	if err != nil {
		return err
	}
	if got := model.DigestOf(content); got != b.Digest {
		return fault.Newf(fault.Corrupt, "the store holds a manifest of digest %s where %s was sent", got.Short(), b.Digest.Short()).
			WithHint("the bundle changed while it was pushed, or the bucket was written by another program: push again")
	}
	return nil
}

// Get returns the record of version v. NotFound: no such version.
func (r *Registry) Get(ctx context.Context, v model.Version) (Record, error) {
	content, _, err := r.store.Get(ctx, r.recordName(v))
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return Record{}, fault.Wrap(fault.NotFound, err, "there is no %s@%d", r.name, v).
			WithHint("`tftctl model list` shows the versions there are")
	}
	if err != nil {
		return Record{}, err
	}
	return r.read(content)
}

func (r *Registry) read(content []byte) (Record, error) {
	var rec Record
	if err := json.Unmarshal(content, &rec); err != nil {
		return Record{}, fault.Wrap(fault.Corrupt, err, "a version record of %s cannot be read", r.name)
	}
	if rec.Schema != RecordSchema {
		return Record{}, fault.Newf(fault.Invalid, "a version record of %s has schema %q, want %q", r.name, rec.Schema, RecordSchema).
			WithHint("it was written by a later tftctl: update this one")
	}
	return rec, nil
}

// List returns all versions, oldest first.
func (r *Registry) List(ctx context.Context) ([]Record, error) {
	names, err := r.store.List(ctx, "models/"+r.name+"/versions/")
	if err != nil {
		return nil, err
	}
	recs := make([]Record, 0, len(names))
	for _, n := range names {
		content, _, err := r.store.Get(ctx, n)
		if err != nil {
			return nil, err
		}
		rec, err := r.read(content)
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
	}
	return recs, nil
}

// ReadFile returns one small file of the bundle with digest d.
func (r *Registry) ReadFile(ctx context.Context, d model.Digest, path string) ([]byte, error) {
	content, _, err := r.store.Get(ctx, r.Prefix(d)+"/"+path)
	return content, err
}

// Fetch copies the bundle under prefix of files into dir, which exists, and
// opens it. Want is the digest that it must have; "" takes any.
//
// Errors: NotFound where there is no manifest; those of model.OpenBundle.
func Fetch(ctx context.Context, files blob.Files, prefix string, want model.Digest, dir string) (*model.Bundle, error) {
	prefix = strings.TrimSuffix(prefix, "/")
	var content bytes.Buffer
	if err := files.Download(ctx, join(prefix, model.ManifestFile), &content); err != nil {
		return nil, fmt.Errorf("fetch the manifest: %w", err)
	}
	if got := model.DigestOf(content.Bytes()); want != "" && got != want {
		return nil, fault.Newf(fault.Corrupt, "the bundle has digest %s, want %s", got.Short(), want.Short()).
			WithHint("the manifest was changed after the release was made; push the model again as a new version")
	}
	m, err := model.ReadManifest(content.Bytes())
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, model.ManifestFile), content.Bytes(), 0o600); err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		if err := fetchFile(ctx, files, join(prefix, f.Path), filepath.Join(dir, filepath.FromSlash(f.Path))); err != nil {
			return nil, fmt.Errorf("fetch %s: %w", f.Path, err)
		}
	}
	return model.OpenBundle(dir, want)
}

func join(prefix, path string) string {
	if prefix == "" {
		return path
	}
	return prefix + "/" + path
}

func fetchFile(ctx context.Context, files blob.Files, name, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := files.Download(ctx, name, w); err != nil {
		w.Close()
		return err
	}
	return w.Close()
}
