package deploy

import (
	"maps"
	"slices"
)

func clone(s Snapshot) Snapshot {
	out := Snapshot{}
	for t, facts := range s {
		out[t] = maps.Clone(facts)
		if out[t] == nil {
			out[t] = Facts{}
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
