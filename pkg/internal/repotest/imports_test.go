package repotest

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// row is a line of the import table: whom it speaks of, and what they may import.
type row struct {
	packages []string
	ours     []string
	others   []string
}

var quoted = regexp.MustCompile("`([^`]+)`")

// table reads the rows between the two marks of docs/architecture.md.
func table(text string) []row {
	_, text, _ = strings.Cut(text, "<!-- imports -->")
	text, _, _ = strings.Cut(text, "<!-- /imports -->")
	words := func(cell string) (out []string) {
		for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
			out = append(out, m[1])
		}
		return out
	}
	var rows []row
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 {
			continue
		}
		if r := (row{words(cells[0]), words(cells[1]), words(cells[2])}); len(r.packages) > 0 {
			rows = append(rows, r)
		}
	}
	return rows
}

// covers reports whether pattern, x or x/..., speaks of name.
func covers(pattern, name string) bool {
	base, all := strings.CutSuffix(pattern, "/...")
	return name == base || all && strings.HasPrefix(name, base+"/")
}

func coveredBy(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, name) })
}

// isSuite reports whether name is the suite of the package it stands in: x/xtest.
func isSuite(name string) bool {
	return path.Base(name) == path.Base(path.Dir(name))+"test"
}

// rules answers what a table allows.
type rules []row

// knows reports whether a package stands in the table under its own name. The
// rows for everyone do not count.
func (r rules) knows(name string) bool {
	everyone := []string{"cmd/...", "deploy/...", "serve/..."}
	for _, row := range r {
		for _, p := range row.packages {
			if covers(p, name) && !slices.Contains(everyone, p) {
				return true
			}
		}
	}
	return isSuite(name) && r.knows(path.Dir(name))
}

// allows reports whether the package called name, or its tests, may import imported.
func (r rules) allows(name, imported string, inTest bool) bool {
	ours, isOurs := strings.CutPrefix(imported, module)
	if isOurs && (inTest && (ours == name || isSuite(ours)) || isSuite(name) && ours == path.Dir(name)) {
		return true
	}
	who := []string{name}
	if isSuite(name) {
		who = append(who, path.Dir(name))
	}
	for _, row := range r {
		applies := slices.ContainsFunc(who, func(w string) bool { return coveredBy(row.packages, w) }) ||
			inTest && slices.Contains(row.packages, "*_test.go")
		if !applies {
			continue
		}
		if isOurs && coveredBy(row.ours, ours) {
			return true
		}
		if !isOurs && slices.ContainsFunc(row.others, func(o string) bool { return imported == o || strings.HasPrefix(imported, o+"/") }) {
			return true
		}
	}
	return false
}

func isStandard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

func TestImportsAreThoseOfTheTable(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	r := rules(table(string(content)))
	if len(r) < 20 {
		t.Fatalf("docs/architecture.md has %d rows between its marks: the table has more", len(r))
	}
	for _, p := range list(t) {
		if !r.knows(p.path()) {
			t.Errorf("%s has no row in docs/architecture.md, section 3", p.path())
		}
		check := func(imports []string, inTest bool) {
			for _, i := range imports {
				if !isStandard(i) && i != p.ImportPath && !r.allows(p.path(), i, inTest) {
					t.Errorf("%s (test: %v) imports %s, which no row of docs/architecture.md, section 3, allows", p.path(), inTest, i)
				}
			}
		}
		check(p.Imports, false)
		check(p.TestImports, true)
		check(p.XTestImports, true)
	}
}

func TestTheTableRefusesAndAllows(t *testing.T) {
	t.Parallel()
	r := rules(table("<!-- imports -->\n" +
		"| `deploy/...` | `pkg/fault` | `golang.org/x/sync` |\n" +
		"| `*_test.go` | `pkg/localcloud` | `github.com/google/go-cmp` |\n" +
		"| `deploy`, `deploy/a` | `pkg/blob` | — |\n" +
		"| `pkg/localcloud/...` | `pkg/localcloud/...` | `google.golang.org/grpc` |\n<!-- /imports -->"))
	for _, c := range []struct {
		name, imported string
		inTest, want   bool
	}{
		{"deploy/a", module + "pkg/fault", false, true},
		{"deploy/a", module + "pkg/blob", false, true},
		{"deploy/b", module + "pkg/blob", false, false},
		{"deploy/a", "golang.org/x/sync/errgroup", false, true},
		{"deploy/a", "golang.org/x/synchrotron", false, false},
		{"deploy/a", module + "pkg/localcloud", false, false},
		{"deploy/a", module + "pkg/localcloud", true, true},
		{"deploy/a", module + "pkg/localcloud/run", true, false},
		{"pkg/localcloud/run", module + "pkg/localcloud/state", false, true},
		{"pkg/localcloud/run", module + "pkg/fault", false, false},
		{"deploy/deploytest", module + "deploy", false, true},
		{"deploy/deploytest", module + "pkg/blob", false, true},
		{"deploy/a", module + "deploy/deploytest", true, true},
		{"deploy/a", module + "deploy/deploytest", false, false},
	} {
		if got := r.allows(c.name, c.imported, c.inTest); got != c.want {
			t.Errorf("%s imports %s (test: %v): allowed %v, want %v", c.name, c.imported, c.inTest, got, c.want)
		}
	}
	if r.knows("deploy/b") || !r.knows("deploy/deploytest") || !r.knows("pkg/localcloud/run") {
		t.Error("who stands in the table is not told from who does not")
	}
}
