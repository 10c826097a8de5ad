package config

import (
	"reflect"
	"slices"
	"strings"
	"sync"
)

// builtKeys are the dotted paths of every key that has an effect, from the
// types themselves.
var builtKeys = keysOf(reflect.TypeFor[Config](), "")

func keysOf(t reflect.Type, prefix string) []string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var keys []string
	for i := range t.NumField() {
		f := t.Field(i)
		if tag := f.Tag.Get("yaml"); tag != "-" {
			keys = append(keys, prefix+tag)
			keys = append(keys, keysOf(f.Type, prefix+tag+".")...)
		}
	}
	return keys
}

// plannedKeys are the keys of planned.txt.
var plannedKeys = sync.OnceValue(func() []string {
	var keys []string
	for line := range strings.Lines(planned) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			keys = append(keys, line)
		}
	}
	return keys
})

// nearest returns the known key most like path, "" where none is: the right
// word in another place, or a slip of the finger, among its siblings first.
func nearest(path string) string {
	parent := path[:strings.LastIndexByte(path, '.')+1]
	word := path[len(parent):]
	for _, key := range builtKeys {
		if key[strings.LastIndexByte(key, '.')+1:] == word {
			return key
		}
	}
	best, least := "", 2+len(word)/4 // more slips than that is another word
	for _, key := range slices.Concat(builtKeys, plannedKeys()) {
		d := distance(path, key)
		if !strings.HasPrefix(key, parent) {
			d++
		}
		if d < least {
			best, least = key, d
		}
	}
	return best
}

// distance is Levenshtein's: how many letters were added, lost or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
