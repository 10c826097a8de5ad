package deploy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/tftctl/tftctl/pkg/model"
)

// Release is what is deployed: a model version, the image that serves it and
// the settings it runs with, each by digest.
type Release struct {
	ID       string        `json:"id"` // such as v13-3f9a1c2b
	Name     string        `json:"name"`
	Version  model.Version `json:"version"`
	Model    model.Digest  `json:"model"`
	Source   string        `json:"source"` // gs://… of the bundle
	Image    string        `json:"image"`
	Settings model.Digest  `json:"settings"` // of what the targets are configured with
}

// NewRelease returns the release of r's contents. Its ID derives from them, so
// the same contents have the same name everywhere and repeating a deploy is
// harmless.
func NewRelease(r Release) Release {
	h := sha256.New()
	for _, part := range []string{r.Name, string(r.Model), r.Image, string(r.Settings)} {
		h.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	r.ID = r.Version.String() + "-" + hex.EncodeToString(h.Sum(nil))[:8]
	return r
}

// VersionOf returns the model version in a release's ID, 0 where id is no
// release of ours.
func VersionOf(id string) model.Version {
	head, _, found := strings.Cut(id, "-")
	if !found || !strings.HasPrefix(head, "v") {
		return 0
	}
	v, err := model.ParseVersion(head)
	if err != nil {
		return 0
	}
	return v
}

// compareReleases orders by version as a number, then by text.
func compareReleases(a, b string) int {
	return cmp.Or(cmp.Compare(VersionOf(a), VersionOf(b)), strings.Compare(a, b))
}
