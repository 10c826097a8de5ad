package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/tftctl/tftctl/pkg/fault"
)

// places is where the value of each key stands in the file, as "file:line:column".
type places map[string]string

// document is a file that is being read: what is wrong in it, and where its
// keys are, so that what is found out later can still be pointed at.
type document struct {
	path     string
	base     places
	overlays map[string]places // by environment
	wrong    []error
}

func (d *document) place(n ast.Node) string {
	at := n.GetToken().Position
	return fmt.Sprintf("%s:%d:%d", d.path, at.Line, at.Column)
}

func (d *document) fail(n ast.Node, hint, format string, args ...any) {
	e := fault.Newf(fault.Invalid, "%s: %s", d.place(n), fmt.Sprintf(format, args...))
	e.Hint = hint
	d.wrong = append(d.wrong, e)
}

// root reads the file's own keys and those of each environment.
func (d *document) root(m *ast.MappingNode) {
	d.keys(m, reflect.TypeFor[Config](), "", d.base, func(v *ast.MappingValueNode) {
		environments, ok := v.Value.(*ast.MappingNode)
		if !ok {
			d.fail(v.Value, "write environments: { production: {} }", "environments is not a mapping of names")
			return
		}
		for _, env := range environments.Values {
			at := places{}
			d.overlays[keyOf(env)] = at
			switch overlay := env.Value.(type) {
			case *ast.NullNode:
			case *ast.MappingNode:
				d.keys(overlay, reflect.TypeFor[Config](), "", at, nil)
			default:
				d.fail(env.Value, "write only what differs, or {}", "environments.%s is not a mapping of keys", keyOf(env))
			}
		}
	})
}

func keyOf(v *ast.MappingValueNode) string { return strings.Trim(v.Key.String(), `"'`) }

// keys refuses each key of m, which holds a t, that is unknown or not built
// yet, and each value that is not of the key's type. Environments is told of
// the key of that name; nil: there is none.
func (d *document) keys(m *ast.MappingNode, t reflect.Type, prefix string, at places, environments func(*ast.MappingValueNode)) {
	for _, v := range m.Values {
		path := prefix + keyOf(v)
		if _, merges := v.Key.(*ast.MergeKeyNode); merges {
			d.fail(v.Key, expand, "<< is not read")
			continue
		}
		if path == "environments" && environments != nil {
			environments(v)
			continue
		}
		if field, ok := fieldOf(t, keyOf(v)); ok {
			at[path] = d.place(v.Value)
			d.value(v.Value, field.Type, path, at)
			continue
		}
		if slices.Contains(plannedKeys(), path) {
			d.fail(v.Key, "take it out: it would have no effect in this release", "%s is not built yet", path)
			continue
		}
		hint := "`tftctl init` writes a file with the usual keys"
		if near := nearest(path); near != "" {
			hint = "did you mean " + near + "?"
		}
		d.fail(v.Key, hint, "unknown key %s", path)
	}
}

// expand is the hint for what YAML offers to avoid writing a thing twice. A
// setting stands in one place, and a small file cannot grow into a large one.
const expand = "write the value out: anchors, aliases, tags and merge keys are not read; environments are laid over what they share"

func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("yaml") == key && key != "-" {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// value refuses n where it is not of type t.
func (d *document) value(n ast.Node, t reflect.Type, path string, at places) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	not := func(what string) { d.fail(n, "", "%s: %q is not %s", path, text(n), what) }
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.fail(n, expand, "%s: an anchor, alias or tag", path)
		return
	case *ast.NullNode:
		hint := "take it out to get the default"
		if t.Kind() == reflect.Struct {
			hint = "write {} to get the defaults"
		}
		d.fail(n, hint, "%s is empty", path)
		return
	}
	switch {
	case t == reflect.TypeFor[Duration]():
		if _, err := parseDuration(text(n)); err != nil {
			d.fail(n, fault.HintOf(err), "%s: %v", path, err)
		}
	case t.Kind() == reflect.Struct:
		if m, ok := n.(*ast.MappingNode); ok {
			d.keys(m, t, path+".", at, nil)
			return
		}
		not("a mapping of keys")
	case t.Kind() == reflect.Map:
		m, ok := n.(*ast.MappingNode)
		if !ok {
			not("a mapping of keys")
			return
		}
		for _, v := range m.Values {
			d.value(v.Value, t.Elem(), path+"."+keyOf(v), at)
		}
	case t.Kind() == reflect.Slice:
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			not("a list")
			return
		}
		for i, v := range list.Values {
			d.value(v, t.Elem(), path+"["+strconv.Itoa(i)+"]", at)
		}
	case t.Kind() == reflect.Int:
		_, isNumber := n.(*ast.IntegerNode)
		if _, err := strconv.Atoi(text(n)); err != nil || !isNumber {
			not("a whole number")
		}
	case t.Kind() == reflect.Bool:
		if _, ok := n.(*ast.BoolNode); !ok {
			not("true or false")
		}
	default:
		switch n.(type) {
		case *ast.StringNode, *ast.LiteralNode:
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode: // 1.10 would become 1.1
			d.fail(n, "write it in quotes", "%s: %s is not a text", path, text(n))
		default:
			not("a text")
		}
	}
}

// text returns a scalar as it is meant, anything else as it is written, in short.
func text(n ast.Node) string {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value
	}
	s := strings.TrimSpace(n.String())
	if len(s) > 40 {
		s = strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}
