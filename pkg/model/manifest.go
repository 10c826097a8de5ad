package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/tftctl/tftctl/pkg/fault"
)

// ManifestFile is the name of a bundle's manifest, which lists all its other files.
const ManifestFile = "manifest.json"

// SampleFile is the name of a bundle's sample request: {"instances": [...]}
// that must be answered before the model is served to anybody.
const SampleFile = "sample.json"

// Versions of the stored formats that this package reads.
const (
	ManifestSchema = "tftctl/manifest/v1"
	SchemaSchema   = "tftctl/model-schema/v1"
)

// Manifest lists the files of a bundle with their digests. The digest of a
// model is the digest of its manifest's bytes, so it covers every file.
type Manifest struct {
	Schema     string            `json:"schema"` // ManifestSchema
	Name       string            `json:"name"`   // the model's
	Model      string            `json:"model"`  // path of the ONNX file
	Files      []File            `json:"files"`  // every file but the manifest, in order of path
	Provenance map[string]string `json:"provenance,omitempty"`
}

// File is one file of a bundle.
type File struct {
	Path   string `json:"path"` // relative, with slashes
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // 64 hexadecimal digits
}

// Digest returns the file's digest in the common form.
func (f File) Digest() Digest { return Digest("sha256:" + f.SHA256) }

// Size returns the bytes of all files together.
func (m Manifest) Size() int64 {
	var sum int64
	for _, f := range m.Files {
		sum += f.Bytes
	}
	return sum
}

// remake is the hint for a manifest or schema that no exporter has written.
const remake = "export the model again with examples/tft/export.py, or restore the file"

// maxFileBytes and maxFiles bound what a manifest can promise, so that sums of
// sizes stay numbers.
const (
	maxFileBytes = 1 << 40
	maxFiles     = 10_000
)

// ReadManifest reads a manifest and refuses one that leaves its folder, lists
// a file twice, or was written by a later version of the format.
func ReadManifest(content []byte) (Manifest, error) {
	var m Manifest
	if err := decodeStrict(content, ManifestFile, &m); err != nil {
		return Manifest{}, err
	}
	if m.Schema != ManifestSchema {
		return Manifest{}, fault.Newf(fault.Invalid, "%s: schema is %q, want %q", ManifestFile, m.Schema, ManifestSchema).
			WithHint("export the model again with this release's examples/tft/export.py, or take the tftctl that wrote it")
	}
	if err := CheckName(m.Name); err != nil {
		return Manifest{}, err
	}
	if len(m.Files) > maxFiles {
		return Manifest{}, fault.Newf(fault.TooLarge, "%s lists %d files, more than %d", ManifestFile, len(m.Files), maxFiles)
	}
	seen := make(map[string]bool, len(m.Files))
	for i, f := range m.Files {
		bad := func(why string) error {
			return fault.Newf(fault.Invalid, "%s: files[%d] %q %s", ManifestFile, i, f.Path, why).WithHint(remake)
		}
		switch {
		case f.Path == "" || path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == ".." ||
			strings.HasPrefix(f.Path, "../") || strings.ContainsAny(f.Path, "\\\x00"):
			return Manifest{}, bad("is not a path inside the bundle")
		case f.Path == ManifestFile:
			return Manifest{}, bad("is the manifest itself")
		case seen[f.Path]:
			return Manifest{}, bad("is listed twice")
		case f.Bytes < 0 || f.Bytes > maxFileBytes:
			return Manifest{}, bad("has a size that no model file has")
		case !digestForm.MatchString("sha256:" + f.SHA256):
			return Manifest{}, bad("has no SHA-256 digest of 64 lower-case hexadecimal digits")
		}
		seen[f.Path] = true
	}
	for _, need := range []string{m.Model, SchemaFile, SampleFile} {
		if !seen[need] {
			return Manifest{}, fault.Newf(fault.Invalid, "%s: %q is not among the files", ManifestFile, need).WithHint(remake)
		}
	}
	if !slices.IsSortedFunc(m.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) }) {
		return Manifest{}, fault.Newf(fault.Invalid, "%s: files are not in order of path", ManifestFile).WithHint(remake)
	}
	return m, nil
}

// decodeStrict decodes one JSON value with no unknown field and nothing behind it.
func decodeStrict(content []byte, name string, into any) error {
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fault.Wrap(fault.Malformed, err, "%s: %v", name, err).WithHint(remake)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fault.Newf(fault.Malformed, "%s: more than one JSON value", name).WithHint(remake)
	}
	return nil
}
