package config

import (
	_ "embed"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/tftctl/tftctl/pkg/fault"
)

//go:embed planned.txt
var planned string

// The bounds of a file. The parser's work grows with the square of both.
const (
	maxBytes = 64 << 10
	maxDepth = 32
)

// Options are what a command line adds to a file.
type Options struct {
	Environment string // "": the file's default_environment
	Project     string // "": the file's
	Region      string
	Image       string
	Version     string // of this program, for the default image
}

// Read reads the file at path and lays the environment over it.
//
// Errors: Invalid, Malformed and TooLarge, with file, line and field for
// everything that is wrong in it.
func Read(path string, o Options) (*Config, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(fault.Invalid, err, "there is no %s", path).WithHint("`tftctl init` writes one; --config names another, -C another folder")
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s cannot be read: %v", path, err)
	}
	return Parse(path, content, o)
}

// Parse reads content as the file called path.
func Parse(path string, content []byte, o Options) (*Config, error) {
	if len(content) > maxBytes {
		return nil, fault.Newf(fault.TooLarge, "%s has %d bytes, more than %d", path, len(content), maxBytes).WithHint("a configuration is a page or two: is this the right file?")
	}
	if deep(content) {
		return nil, fault.Newf(fault.TooLarge, "%s is nested deeper than %d levels", path, maxDepth).WithHint("a configuration has four levels: is this the right file?")
	}
	file, err := parser.ParseBytes(content, 0)
	if err != nil {
		return nil, syntax(path, err)
	}
	if len(file.Docs) != 1 {
		return nil, fault.Newf(fault.Malformed, "%s holds %d documents, not one", path, len(file.Docs)).WithHint("take out the --- between them; environments stand under environments")
	}
	root, ok := file.Docs[0].Body.(*ast.MappingNode)
	if !ok {
		return nil, fault.Newf(fault.Malformed, "%s is not a mapping of keys", path).WithHint("`tftctl init` writes one to begin with")
	}
	d := document{path: path, base: places{}, overlays: map[string]places{}}
	d.root(root)
	if len(d.wrong) > 0 {
		return nil, join(d.wrong)
	}
	return d.decode(content, o)
}

// deep reports whether content may be nested deeper than any configuration. It
// looks at bytes alone, before the parser does.
func deep(content []byte) bool {
	for line := range strings.Lines(string(content)) {
		text := strings.TrimLeft(line, " ")
		inline := 0 // the dashes, anchors and question marks that begin levels within the line
		for word := range strings.FieldsSeq(text) {
			if !strings.ContainsAny(word[:1], "-?&!") {
				break
			}
			inline++
		}
		if len(line)-len(text) > 8*maxDepth || inline > maxDepth {
			return true
		}
	}
	open := 0
	for _, b := range content {
		switch b {
		case '[', '{':
			if open++; open > maxDepth {
				return true
			}
		case ']', '}':
			open = max(0, open-1)
		}
	}
	return false
}

// syntax is a parser's error in our words.
func syntax(path string, err error) error {
	var at yaml.Error
	if !errors.As(err, &at) || at.GetToken() == nil {
		return fault.Wrap(fault.Malformed, err, "%s is no YAML", path)
	}
	where := at.GetToken().Position
	return fault.Wrap(fault.Malformed, err, "%s:%d:%d: %s", path, where.Line, where.Column, at.GetMessage())
}

func (d *document) decode(content []byte, o Options) (*Config, error) {
	var whole map[string]any
	if err := yaml.UnmarshalWithOptions(content, &whole, yaml.Strict()); err != nil {
		return nil, syntax(d.path, err)
	}
	environments, _ := whole["environments"].(map[string]any)
	delete(whole, "environments")
	env, err := d.environment(o.Environment, whole)
	if err != nil {
		return nil, err
	}
	overlay, _ := environments[env].(map[string]any) // none: nothing differs
	c := &Config{}
	merged, err := yaml.Marshal(merge(whole, overlay))
	if err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalWithOptions(merged, c, yaml.Strict()); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s: %v", d.path, err)
	}
	at := maps.Clone(d.base)
	maps.Copy(at, d.overlays[env])
	c.Environment, c.Path = env, d.path
	if o.Project != "" {
		c.Project = o.Project
		delete(at, "project")
	}
	if o.Region != "" {
		c.Region = o.Region
		delete(at, "region")
	}
	if o.Image != "" {
		c.Image = o.Image
		delete(at, "image")
	}
	c.fill(o.Version, at)
	if wrong := c.check(at); len(wrong) > 0 {
		return nil, join(wrong)
	}
	return c, nil
}

// environment returns the environment that is meant: the one asked for, the
// file's default, or development, which every file has.
func (d *document) environment(asked string, whole map[string]any) (string, error) {
	env := asked
	if env == "" {
		env, _ = whole["default_environment"].(string)
	}
	if env == "" {
		env = implied
	}
	if _, known := d.overlays[env]; known || env == implied && len(d.overlays) == 0 {
		return env, nil
	}
	f := fault.Newf(fault.Invalid, "%s has no environment %q", d.path, env)
	if len(d.overlays) == 0 {
		return "", f.WithHint("it names none, so there is only %s: add environments", implied)
	}
	return "", f.WithHint("it has %s: choose with -e or default_environment", strings.Join(slices.Sorted(maps.Keys(d.overlays)), ", "))
}

// implied is the environment of a file that names none.
const implied = "development"

// merge lays over on base: maps key by key, everything else replaces.
func merge(base, over map[string]any) map[string]any {
	out := maps.Clone(base)
	for k, v := range over {
		below, isMap := v.(map[string]any)
		was, wasMap := out[k].(map[string]any)
		if isMap && wasMap {
			out[k] = merge(was, below)
			continue
		}
		out[k] = v
	}
	return out
}

// join makes one fault of several, each with its own hint.
func join(wrong []error) error {
	if len(wrong) == 1 {
		return wrong[0]
	}
	var texts []string
	for _, err := range wrong {
		text := err.Error()
		if hint := fault.HintOf(err); hint != "" {
			text += ": " + hint
		}
		texts = append(texts, text)
	}
	return fault.Newf(fault.Invalid, "%s", strings.Join(texts, "\n")).WithHint("correct these %d places, then `tftctl validate`", len(wrong))
}
