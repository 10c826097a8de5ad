package repotest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// terraform returns the text of every file of terraform/ by its path.
func terraform(t *testing.T) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "terraform", "*.tf"))
	if err != nil || len(paths) < 6 {
		t.Fatalf("terraform/ has %d files, %v: there are more", len(paths), err)
	}
	files := map[string][]byte{}
	for _, p := range paths {
		content, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.ToSlash(filepath.Join("terraform", filepath.Base(p)))] = content
	}
	return files
}

func parse(t *testing.T, path string, content []byte) *hclsyntax.Body {
	t.Helper()
	file, diagnostics := hclsyntax.ParseConfig(content, path, hcl.InitialPos)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	return file.Body.(*hclsyntax.Body)
}

func TestTerraformIsFormatted(t *testing.T) {
	t.Parallel()
	for path, content := range terraform(t) {
		parse(t, path, content)
		if string(hclwrite.Format(content)) != string(content) {
			t.Errorf("%s is not formatted: terraform fmt terraform", path)
		}
	}
}

func TestVariablesAndOutputsOfTerraformSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	variables := 0
	for path, content := range terraform(t) {
		for _, b := range parse(t, path, content).Blocks {
			if b.Type != "variable" && b.Type != "output" {
				continue
			}
			if b.Type == "variable" {
				variables++
				if b.Body.Attributes["type"] == nil {
					t.Errorf("%s: variable %s has no type", path, b.Labels[0])
				}
			}
			var description string
			if a := b.Body.Attributes["description"]; a != nil {
				if diagnostics := gohcl.DecodeExpression(a.Expr, nil, &description); diagnostics.HasErrors() {
					t.Error(diagnostics)
				}
			}
			if strings.TrimSpace(description) == "" {
				t.Errorf("%s: %s %s has no description", path, b.Type, b.Labels[0])
			}
		}
	}
	if variables == 0 {
		t.Error("no variable was found")
	}
}

// released names what a release sets and a rollback restores, in the words of
// the provider's resources for Cloud Run and Vertex AI.
var released = []string{"image", "env", "traffic", "traffic_split", "deployed_models"}

// trespasses returns where a resource for Cloud Run or Vertex AI sets what is
// tftctl's: an attribute, a block or a dynamic block, however deep.
func trespasses(file *hclsyntax.Body) (out []string) {
	for _, b := range file.Blocks {
		if b.Type != "resource" || len(b.Labels) != 2 {
			continue
		}
		if strings.HasPrefix(b.Labels[0], "google_cloud_run") || strings.HasPrefix(b.Labels[0], "google_vertex_ai") {
			out = append(out, set(b.Body, strings.Join(b.Labels, "."))...)
		}
	}
	slices.Sort(out)
	return out
}

// set returns the released things that body, found at path, sets.
func set(body *hclsyntax.Body, path string) (out []string) {
	for name := range body.Attributes {
		if slices.Contains(released, name) {
			out = append(out, path+"."+name)
		}
	}
	for _, b := range body.Blocks {
		name := b.Type
		if name == "dynamic" && len(b.Labels) == 1 {
			name = b.Labels[0]
		}
		if slices.Contains(released, name) {
			out = append(out, path+"."+name)
			continue
		}
		out = append(out, set(b.Body, path+"."+name)...)
	}
	return out
}

func TestTerraformLeavesAloneWhatAReleaseSets(t *testing.T) {
	t.Parallel()
	for path, content := range terraform(t) {
		for _, what := range trespasses(parse(t, path, content)) {
			t.Errorf("%s sets %s, which is tftctl's: a rollback restores it, and terraform apply would undo that", path, what)
		}
	}
}

func TestATerraformFileThatSetsAReleaseIsFound(t *testing.T) {
	t.Parallel()
	file := parse(t, "run.tf", []byte(`
resource "google_cloud_run_v2_service" "main" {
  ingress = "INGRESS_TRAFFIC_ALL"
  template {
    containers {
      image = "example"
      dynamic "env" {
        for_each = var.environment
        content { name = env.key }
      }
    }
  }
  traffic { percent = 100 }
}
resource "google_vertex_ai_endpoint" "main" {
  traffic_split = jsonencode({ 1 = 100 })
}
resource "google_compute_instance" "other" {
  image = "not a release"
}`))
	const run = "google_cloud_run_v2_service.main."
	want := []string{run + "template.containers.env", run + "template.containers.image", run + "traffic", "google_vertex_ai_endpoint.main.traffic_split"}
	if got := trespasses(file); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
