package registry_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tftctl/tftctl/pkg/blob"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/pkg/registry"
)

// bundle writes a bundle whose model is text and opens it.
func bundle(t *testing.T, text string) *model.Bundle {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"model.onnx":  text,
		"sample.json": `{"instances":[{"x":[1]}]}`,
		"schema.json": `{"schema":"tftctl/model-schema/v1","inputs":[{"name":"x","dtype":"float32","shape":[1]}],` +
			`"outputs":[{"name":"y","dtype":"float32","shape":[1]}]}`,
	}
	m := model.Manifest{Schema: model.ManifestSchema, Name: "forecast", Model: "model.onnx"}
	for _, name := range []string{"model.onnx", "sample.json", "schema.json"} {
		content := []byte(files[name])
		m.Files = append(m.Files, model.File{Path: name, Bytes: int64(len(content)), SHA256: model.DigestOf(content).Hex()})
		write(t, filepath.Join(dir, name), content)
	}
	content, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, model.ManifestFile), content)
	b, err := model.OpenBundle(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func push(t *testing.T, r *registry.Registry, b *model.Bundle, v model.Version) (registry.Record, bool) {
	t.Helper()
	rec, created, err := r.Push(t.Context(), b, v, nil)
	if err != nil {
		t.Fatal(err)
	}
	return rec, created
}

func TestVersionsCountUpAndContentIsKnownAgain(t *testing.T) {
	t.Parallel()
	store := new(blob.Memory)
	r := registry.New(store, "forecast")
	one, two := bundle(t, "one"), bundle(t, "two")
	if rec, created := push(t, r, one, 0); rec.Version != 1 || !created {
		t.Errorf("first push: version %d, created %v", rec.Version, created)
	}
	if rec, created := push(t, r, two, 0); rec.Version != 2 || !created {
		t.Errorf("second push: version %d, created %v", rec.Version, created)
	}
	before, _ := store.List(t.Context(), "")
	if rec, created := push(t, r, one, 0); rec.Version != 1 || created {
		t.Errorf("the first again: version %d, created %v; want version 1 as it was", rec.Version, created)
	}
	if after, _ := store.List(t.Context(), ""); len(after) != len(before) {
		t.Errorf("pushing again wrote: %v after %v", after, before)
	}
	if rec, created := push(t, r, two, 7); rec.Version != 7 || !created {
		t.Errorf("under its own number: version %d, created %v", rec.Version, created)
	}
	all, err := r.List(t.Context())
	if err != nil || len(all) != 3 || all[2].Version != 7 || all[2].Digest != two.Digest {
		t.Errorf("versions %+v, %v", all, err)
	}
}

func TestAVersionNeverChanges(t *testing.T) {
	t.Parallel()
	r := registry.New(new(blob.Memory), "forecast")
	one := bundle(t, "one")
	push(t, r, one, 1)
	if _, _, err := r.Push(t.Context(), bundle(t, "two"), 1, nil); fault.KindOf(err) != fault.Blocked || fault.HintOf(err) == "" {
		t.Errorf("other content under version 1: %v, want Blocked with a hint", err)
	}
	if rec, err := r.Get(t.Context(), 1); err != nil || rec.Digest != one.Digest {
		t.Errorf("version 1 is %+v, %v", rec, err)
	}
	if _, err := r.Get(t.Context(), 9); fault.KindOf(err) != fault.NotFound || fault.HintOf(err) == "" {
		t.Errorf("version 9: %v, want NotFound with a hint", err)
	}
}

func TestTwoWhoPushAtOnceGetTwoVersions(t *testing.T) {
	t.Parallel()
	store := new(blob.Memory)
	var group sync.WaitGroup
	versions := make(chan model.Version, 8)
	for i := range 8 {
		b := bundle(t, strings.Repeat("x", i+1))
		group.Go(func() {
			rec, _, err := registry.New(store, "forecast").Push(t.Context(), b, 0, nil)
			if err != nil {
				t.Error(err)
			}
			versions <- rec.Version
		})
	}
	group.Wait()
	close(versions)
	seen := map[model.Version]bool{}
	for v := range versions {
		if seen[v] {
			t.Errorf("version %d was given twice", v)
		}
		seen[v] = true
	}
}

func TestWhatIsFetchedIsWhatWasPushed(t *testing.T) {
	t.Parallel()
	store := new(blob.Memory)
	r := registry.New(store, "forecast")
	b := bundle(t, "the model")
	push(t, r, b, 0)
	got, err := registry.Fetch(t.Context(), store, r.Prefix(b.Digest)+"/", b.Digest, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(got.Dir, "model.onnx"))
	if err != nil || !bytes.Equal(content, []byte("the model")) || got.Digest != b.Digest {
		t.Errorf("fetched %q, %s, %v", content, got.Digest, err)
	}
	if _, err := registry.Fetch(t.Context(), store, r.Prefix(b.Digest), model.DigestOf(nil), t.TempDir()); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("another digest was wanted: %v, want Corrupt", err)
	}
	if _, err := registry.Fetch(t.Context(), store, "nowhere", "", t.TempDir()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("nothing there: %v, want NotFound", err)
	}
	// A store that changes a byte on the way.
	name := r.Prefix(b.Digest) + "/model.onnx"
	_, generation, err := store.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), name, []byte("the mode1"), generation); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Fetch(t.Context(), store, r.Prefix(b.Digest), b.Digest, t.TempDir()); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("a byte was changed: %v, want Corrupt", err)
	}
}

func TestAnotherModelsBundleIsRefused(t *testing.T) {
	t.Parallel()
	if _, _, err := registry.New(new(blob.Memory), "other").Push(t.Context(), bundle(t, "x"), 0, nil); fault.KindOf(err) != fault.Invalid || err == nil {
		t.Errorf("%v, want Invalid", err)
	}
}
