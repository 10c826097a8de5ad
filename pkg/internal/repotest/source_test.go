package repotest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestGooglesHostIsKnownInOnePlace(t *testing.T) {
	t.Parallel()
	host := regexp.MustCompile(`googleapis\.com[:"/]`)
	for path, text := range sources(t) {
		name := filepath.ToSlash(filepath.Dir(path))
		if strings.HasPrefix(name, "pkg/gcp") || strings.HasPrefix(name, "pkg/localcloud") || strings.HasPrefix(name, "pkg/internal") {
			continue // the one place, who plays Google, and this test
		}
		if host.MatchString(text) {
			t.Errorf("%s names Google's host: only pkg/gcp knows where Google is", path)
		}
	}
}

func TestOnlyProgramsEndThemselves(t *testing.T) {
	t.Parallel()
	for path, text := range sources(t) {
		ends := strings.HasSuffix(path, "main.go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(filepath.Dir(path), "test")
		if strings.Contains(text, "os.Exit(") && !ends {
			t.Errorf("%s calls os.Exit: only a program's main.go and tests do", path)
		}
	}
}

// sources returns the text of every Go file of the repository by its path.
func sources(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, p := range list(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			content, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			rel := filepath.ToSlash(filepath.Join(p.path(), filepath.Base(f)))
			out[rel] = string(content)
		}
	}
	return out
}
