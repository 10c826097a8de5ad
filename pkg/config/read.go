package config

import (
	_ "embed"
	"errors"
	"fmt"
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

// maxBytes is the largest file that is read.
const maxBytes = 1 << 20

// Options are what a command line adds to a file.
type Options struct {
	Environment string // "": the file's default_environment
	Project     string // "": the file's
	Region      string
	Version     string // of this program, for the default image
}

// Read reads the file at path and lays the environment over it.
//
// Errors: NotFound where there is no file; Invalid and Malformed with file,
// line and field for everything that is wrong in it.
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
		return nil, fault.Newf(fault.TooLarge, "%s has %d bytes, more than %d", path, len(content), maxBytes)
	}
	file, err := parser.ParseBytes(content, 0)
	if err != nil {
		return nil, fault.Wrap(fault.Malformed, err, "%s: %s", path, yaml.FormatError(err, false, true))
	}
	if len(file.Docs) != 1 {
		return nil, fault.Newf(fault.Malformed, "%s holds %d documents, not one", path, len(file.Docs))
	}
	root, ok := file.Docs[0].Body.(*ast.MappingNode)
	if !ok {
		return nil, fault.Newf(fault.Malformed, "%s is not a mapping of keys", path).WithHint("`tftctl init` writes one to begin with")
	}
	d := document{path: path}
	d.keys(root, "")
	if len(d.wrong) > 0 {
		return nil, join(d.wrong)
	}
	return d.decode(content, o)
}

type document struct {
	path  string
	wrong []error
}

func (d *document) fail(n ast.Node, hint, format string, args ...any) {
	at := n.GetToken().Position
	e := fault.Newf(fault.Invalid, "%s:%d:%d: %s", d.path, at.Line, at.Column, fmt.Sprintf(format, args...))
	e.Hint = hint
	d.wrong = append(d.wrong, e)
}

// freeForm are the mappings whose keys are the user's own.
var freeForm = []string{"labels"}

// keys refuses each key below prefix that is unknown or not built yet.
func (d *document) keys(m *ast.MappingNode, prefix string) {
	for _, v := range m.Values {
		key := strings.Trim(v.Key.String(), `"'`)
		path := prefix + key
		below, _ := v.Value.(*ast.MappingNode)
		switch {
		case path == "environments":
			if below == nil {
				d.fail(v.Value, "", "environments is not a mapping of names")
				continue
			}
			for _, env := range below.Values {
				if overlay, ok := env.Value.(*ast.MappingNode); ok {
					d.keys(overlay, "")
				}
			}
		case slices.Contains(freeForm, path):
		case slices.Contains(builtKeys, path):
			if below != nil {
				d.keys(below, path+".")
			}
		case slices.Contains(plannedKeys(), path):
			d.fail(v.Key, "take it out: it would have no effect in this release", "%s is not built yet", path)
		default:
			hint := "`tftctl init` writes a file with every key there is"
			if near := nearest(path); near != "" {
				hint = "did you mean " + near + "?"
			}
			d.fail(v.Key, hint, "unknown key %s", path)
		}
	}
}

func (d *document) decode(content []byte, o Options) (*Config, error) {
	var whole map[string]any
	if err := yaml.UnmarshalWithOptions(content, &whole, yaml.Strict()); err != nil {
		return nil, d.malformed(err)
	}
	environments, _ := whole["environments"].(map[string]any)
	delete(whole, "environments")
	env := o.Environment
	if env == "" {
		env, _ = whole["default_environment"].(string)
	}
	if env == "" {
		env = "development"
	}
	overlay, known := environments[env].(map[string]any)
	if !known && len(environments) > 0 {
		return nil, fault.Newf(fault.Invalid, "%s has no environment %q", d.path, env).
			WithHint("it has %s: choose with -e or default_environment", strings.Join(slices.Sorted(maps.Keys(environments)), ", "))
	}
	// Each layer by itself first, because its errors then show its own lines.
	for _, layer := range []any{whole, overlay} {
		if err := decodeLayer(layer, new(Config)); err != nil {
			return nil, d.malformed(err)
		}
	}
	c := &Config{}
	if err := decodeLayer(merge(whole, overlay), c); err != nil {
		return nil, d.malformed(err)
	}
	c.Environment, c.Path = env, d.path
	if o.Project != "" {
		c.Project = o.Project
	}
	if o.Region != "" {
		c.Region = o.Region
	}
	c.fill(o.Version)
	if wrong := c.check(); len(wrong) > 0 {
		for i, err := range wrong {
			e := fault.Newf(fault.Invalid, "%s: %v", d.path, err)
			e.Hint = fault.HintOf(err)
			wrong[i] = e
		}
		return nil, join(wrong)
	}
	return c, nil
}

func (d *document) malformed(err error) error {
	return fault.Wrap(fault.Invalid, err, "%s: %s", d.path, strings.TrimSpace(yaml.FormatError(err, false, true)))
}

func decodeLayer(layer any, into *Config) error {
	content, err := yaml.Marshal(layer)
	if err != nil {
		return err
	}
	return yaml.UnmarshalWithOptions(content, into, yaml.Strict())
}

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

// join makes one fault of several, with the first one's hint.
func join(wrong []error) error {
	if len(wrong) == 1 {
		return wrong[0]
	}
	var texts []string
	for _, err := range wrong {
		texts = append(texts, err.Error())
	}
	e := fault.Newf(fault.Invalid, "%s", strings.Join(texts, "\n"))
	e.Hint = fault.HintOf(wrong[0])
	return e
}
