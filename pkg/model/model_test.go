package model_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
)

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func TestRefForms(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]model.Ref{
		"forecast@13":     {Name: "forecast", Version: 13},
		"forecast@v13":    {Name: "forecast", Version: 13},
		"forecast@stable": {Name: "forecast", Alias: "stable"},
	} {
		if got, err := model.ParseRef(in); err != nil || got != want {
			t.Errorf("ParseRef(%q) = %+v, %v; want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "forecast", "forecast@", "@1", "Forecast@1", "forecast@0", "forecast@-1", "forecast@1.2", "fore cast@1", "forecast@S"} {
		if got, err := model.ParseRef(in); fault.KindOf(err) != fault.Invalid || fault.HintOf(err) == "" {
			t.Errorf("ParseRef(%q) = %+v, %v (hint %q); want Invalid with a hint", in, got, err, fault.HintOf(err))
		}
	}
}

// manifest returns one with files as its list.
func manifest(files string) string {
	return `{"schema":"tftctl/manifest/v1","name":"forecast","model":"model.onnx","files":[` + files + `]}`
}

func file(path string) string { return `{"path":"` + path + `","bytes":0,"sha256":"` + zeros + `"}` }

func TestManifestsThatAreRefused(t *testing.T) {
	t.Parallel()
	good := file("model.onnx") + "," + file("sample.json") + "," + file("schema.json")
	if _, err := model.ReadManifest([]byte(manifest(good))); err != nil {
		t.Fatalf("a good one: %v", err)
	}
	for name, c := range map[string]struct {
		content string
		want    fault.Kind
	}{
		"no JSON":                 {`{`, fault.Malformed},
		"something behind it":     {manifest(good) + "{}", fault.Malformed},
		"unknown field":           {strings.Replace(manifest(good), `"name"`, `"nom":1,"name"`, 1), fault.Malformed},
		"later form":              {strings.Replace(manifest(good), "manifest/v1", "manifest/v2", 1), fault.Invalid},
		"bad name":                {strings.Replace(manifest(good), `"forecast"`, `"../x"`, 1), fault.Invalid},
		"path that leaves":        {manifest(file("../model.onnx") + "," + good), fault.Invalid},
		"path that leaves within": {manifest(good + "," + file("x/../../y")), fault.Invalid},
		"absolute path":           {manifest(file("/etc/passwd") + "," + good), fault.Invalid},
		"backslash":               {manifest(good + `,{"path":"x\\y","bytes":0,"sha256":"` + zeros + `"}`), fault.Invalid},
		"the manifest itself":     {manifest(file("manifest.json") + "," + good), fault.Invalid},
		"listed twice":            {manifest(file("model.onnx") + "," + good), fault.Invalid},
		"no model":                {manifest(file("sample.json") + "," + file("schema.json")), fault.Invalid},
		"no sample":               {manifest(file("model.onnx") + "," + file("schema.json")), fault.Invalid},
		"no schema":               {manifest(file("model.onnx") + "," + file("sample.json")), fault.Invalid},
		"out of order":            {manifest(file("schema.json") + "," + file("model.onnx")), fault.Invalid},
		"digest of 63 digits":     {strings.Replace(manifest(good), zeros, zeros[1:], 1), fault.Invalid},
		"negative size":           {strings.Replace(manifest(good), `"bytes":0`, `"bytes":-1`, 1), fault.Invalid},
	} {
		if _, err := model.ReadManifest([]byte(c.content)); fault.KindOf(err) != c.want || err == nil {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestSchemasThatAreRefused(t *testing.T) {
	t.Parallel()
	const head = `{"schema":"tftctl/model-schema/v1",`
	const x, y = `{"name":"x","dtype":"float32","shape":[2,3]}`, `{"name":"y","dtype":"int64","shape":[]}`
	s, err := model.ReadSchema([]byte(head + `"inputs":[` + x + `],"outputs":[` + y + `]}`))
	if err != nil || s.Inputs[0].Elements() != 6 || s.Outputs[0].Elements() != 1 {
		t.Fatalf("a good one: %+v, %v", s, err)
	}
	for name, content := range map[string]string{
		"no inputs":         head + `"inputs":[],"outputs":[` + y + `]}`,
		"other dtype":       head + `"inputs":[{"name":"x","dtype":"string","shape":[1]}],"outputs":[` + y + `]}`,
		"axis of zero":      head + `"inputs":[{"name":"x","dtype":"int64","shape":[0]}],"outputs":[` + y + `]}`,
		"too many elements": head + `"inputs":[{"name":"x","dtype":"int64","shape":[4294967296,4294967296]}],"outputs":[` + y + `]}`,
		"name twice":        head + `"inputs":[` + x + `,` + x + `],"outputs":[` + y + `]}`,
		"columns that miss": head + `"inputs":[{"name":"x","dtype":"int64","shape":[2],"columns":[{"name":"a"}]}],"outputs":[` + y + `]}`,
		"later form":        `{"schema":"tftctl/model-schema/v2","inputs":[` + x + `],"outputs":[` + y + `]}`,
	} {
		if _, err := model.ReadSchema([]byte(content)); fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
}

// example copies the example model, so that a test may spoil it.
func example(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "examples", "tft", "models", "v1"))); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTheExampleBundleIsWhole(t *testing.T) {
	t.Parallel()
	dir := example(t)
	b, err := model.OpenBundle(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := model.OpenBundle(dir, b.Digest); err != nil {
		t.Errorf("by its own digest: %v", err)
	}
	if _, err := model.OpenBundle(dir, model.DigestOf(nil)); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("by another digest: %v, want Corrupt", err)
	}
	if size := b.Manifest.Size(); size > 4<<20 {
		t.Errorf("the example has %d bytes, more than 4 MiB", size)
	}
}

func TestSpoiledBundlesAreRefused(t *testing.T) {
	t.Parallel()
	onnx := func(dir string) string { return filepath.Join(dir, "model.onnx") }
	for name, c := range map[string]struct {
		spoil func(dir string) error
		want  fault.Kind
	}{
		"truncated": {func(dir string) error { return os.Truncate(onnx(dir), 1000) }, fault.Corrupt},
		"one byte changed": {func(dir string) error {
			f, err := os.OpenFile(onnx(dir), os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte{0xff}, 5000)
			return err
		}, fault.Corrupt},
		"longer":        {func(dir string) error { return os.Truncate(onnx(dir), 1<<20) }, fault.Corrupt},
		"file missing":  {func(dir string) error { return os.Remove(onnx(dir)) }, fault.Corrupt},
		"link outwards": {func(dir string) error { return replaceByLink(onnx(dir)) }, fault.Corrupt},
		"no manifest":   {func(dir string) error { return os.Remove(filepath.Join(dir, model.ManifestFile)) }, fault.NotFound},
		"no folder":     {os.RemoveAll, fault.NotFound},
	} {
		dir := example(t)
		if err := c.spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := model.OpenBundle(dir, ""); fault.KindOf(err) != c.want || fault.HintOf(err) == "" {
			t.Errorf("%s: %v (hint %q), want %s with a hint", name, err, fault.HintOf(err), c.want)
		}
	}
}

// replaceByLink moves a file out of its folder and puts a link in its place.
func replaceByLink(path string) error {
	outside := filepath.Join(filepath.Dir(filepath.Dir(path)), "outside.onnx")
	if err := os.Rename(path, outside); err != nil {
		return err
	}
	return os.Symlink(outside, path)
}

func FuzzReadManifest(f *testing.F) {
	f.Add([]byte(manifest(file("model.onnx") + "," + file("sample.json") + "," + file("schema.json"))))
	f.Add([]byte(`{"files":null}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := model.ReadManifest(content)
		if err == nil && (len(m.Files) < 2 || m.Size() < 0) {
			t.Errorf("accepted %q as %+v", content, m)
		}
	})
}
