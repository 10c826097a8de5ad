package model

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/tftctl/tftctl/pkg/fault"
)

// Bundle is a folder that holds a model: the manifest and the files it lists.
type Bundle struct {
	Dir      string
	Digest   Digest // of the manifest
	Manifest Manifest
	Schema   Schema
}

// OpenBundle reads the bundle in dir and verifies the digest of every file.
// Want is the digest that the bundle must have; "" takes any.
//
// Errors: NotFound where there is no manifest, Corrupt where a file is
// missing or differs from it, Invalid and Malformed for a bad manifest or schema.
func OpenBundle(dir string, want Digest) (*Bundle, error) {
	root, err := os.OpenRoot(dir) // no path or link leads out of it
	if err != nil {
		return nil, fault.Wrap(fault.NotFound, err, "no model bundle in %s", dir).WithHint("name a folder that holds %s", ManifestFile)
	}
	defer root.Close()

	content, err := root.ReadFile(ManifestFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(fault.NotFound, err, "%s holds no %s", dir, ManifestFile).
			WithHint("export the model with examples/tft/export.py, which writes one")
	}
	if err != nil {
		return nil, fmt.Errorf("read the manifest in %s: %w", dir, err)
	}
	b := &Bundle{Dir: dir, Digest: DigestOf(content)}
	if want != "" && b.Digest != want {
		return nil, fault.Newf(fault.Corrupt, "the bundle in %s has digest %s, want %s", dir, b.Digest.Short(), want.Short()).
			WithHint("the manifest was changed after the release was made; push the model again as a new version")
	}
	if b.Manifest, err = ReadManifest(content); err != nil {
		return nil, err
	}
	for _, f := range b.Manifest.Files {
		if err := verify(root, f); err != nil {
			return nil, err
		}
	}
	if content, err = root.ReadFile(SchemaFile); err != nil {
		return nil, fmt.Errorf("read the schema in %s: %w", dir, err)
	}
	if b.Schema, err = ReadSchema(content); err != nil {
		return nil, err
	}
	return b, nil
}

func verify(root *os.Root, f File) error {
	corrupt := func(err error, why string) error {
		return fault.Wrap(fault.Corrupt, err, "%s: %s", f.Path, why).
			WithHint("the file differs from what the manifest promises: export or fetch the bundle again")
	}
	r, err := root.Open(f.Path)
	if err != nil {
		return corrupt(err, "is listed in the manifest and cannot be read")
	}
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(r, f.Bytes+1))
	switch {
	case err != nil:
		return fmt.Errorf("read %s: %w", f.Path, err)
	case n != f.Bytes:
		return corrupt(nil, fmt.Sprintf("its size is not the manifest's %d bytes", f.Bytes))
	case hex.EncodeToString(h.Sum(nil)) != f.SHA256:
		return corrupt(nil, "its SHA-256 digest is not the manifest's")
	}
	return nil
}
