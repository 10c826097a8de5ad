// Package model is what a model is: its name, version, digest, manifest and
// schema, and the folder, called a bundle, that holds it.
package model

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"

	"github.com/tftctl/tftctl/pkg/fault"
)

// Digest names content: "sha256:" and 64 hexadecimal digits in lower case.
type Digest string

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// ParseDigest returns s as a Digest, or Invalid.
func ParseDigest(s string) (Digest, error) {
	if !digestForm.MatchString(s) {
		return "", fault.Newf(fault.Invalid, "%q is not a digest", s).WithHint("write sha256: and 64 lower-case hexadecimal digits")
	}
	return Digest(s), nil
}

// DigestOf returns the digest of content.
func DigestOf(content []byte) Digest {
	sum := sha256.Sum256(content)
	return Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// Hex returns the 64 digits alone.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), "sha256:") }

// Short returns the first 12 digits, for tables.
func (d Digest) Short() string { return d.Hex()[:min(12, len(d.Hex()))] }

// Version numbers a model's contents from 1 upwards. A version never changes.
type Version int

// ParseVersion reads "13" or "v13".
func ParseVersion(s string) (Version, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(s, "v"))
	if err != nil || n < 1 || n > 999_999 {
		return 0, fault.Newf(fault.Invalid, "%q is not a version", s).WithHint("a version is a whole number from 1 to 999999, such as 13 or v13")
	}
	return Version(n), nil
}

// String returns the version as users write it: "v13".
func (v Version) String() string { return "v" + strconv.Itoa(int(v)) }

var (
	nameForm  = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$`)
	aliasForm = regexp.MustCompile(`^[a-z]([a-zA-Z0-9-]{0,126}[a-z0-9])$`) // Vertex AI's form, aiplatform.v1 Model.version_aliases
)

// CheckName refuses a name that Cloud Run, Vertex AI or a bucket would refuse.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return fault.Newf(fault.Invalid, "%q is not a model name", name).WithHint("use lower-case letters, digits and hyphens, at most 40, beginning with a letter")
	}
	return nil
}

// CheckAlias refuses an alias that Vertex AI would refuse, and those that look
// like versions.
func CheckAlias(alias string) error {
	_, err := ParseVersion(alias)
	if err == nil || !aliasForm.MatchString(alias) {
		return fault.Newf(fault.Invalid, "%q is not an alias", alias).WithHint("use letters, digits and hyphens, 2 to 128, beginning with a lower-case letter, and not the form of a version such as v13")
	}
	return nil
}

// Ref names one version of a model: by number or by alias, one of the two.
type Ref struct {
	Name    string
	Version Version // 0: by alias
	Alias   string  // "": by number
}

// ParseRef reads NAME@VERSION or NAME@ALIAS.
func ParseRef(s string) (Ref, error) {
	name, rest, found := strings.Cut(s, "@")
	if !found || rest == "" {
		return Ref{}, fault.Newf(fault.Invalid, "%q names no version", s).WithHint("write NAME@VERSION or NAME@ALIAS, such as forecast@13 or forecast@stable")
	}
	if err := CheckName(name); err != nil {
		return Ref{}, err
	}
	if v, err := ParseVersion(rest); err == nil {
		return Ref{Name: name, Version: v}, nil
	}
	if err := CheckAlias(rest); err != nil {
		return Ref{}, err
	}
	return Ref{Name: name, Alias: rest}, nil
}

// String returns the form that ParseRef reads.
func (r Ref) String() string {
	if r.Alias != "" {
		return r.Name + "@" + r.Alias
	}
	return r.Name + "@" + strconv.Itoa(int(r.Version))
}
