package vertex

import (
	"regexp"
	"strings"
)

var (
	idTerm    = regexp.MustCompile(`^([a-z_]+)\s*=\s*"?([A-Za-z0-9_-]+)"?$`)
	labelTerm = regexp.MustCompile(`^labels\.([^=:\s]+)\s*(=|:)\s*"?([^"]*)"?$`)
	nameTerm  = regexp.MustCompile(`^(?:display_name|displayName)\s*=\s*"([^"]*)"$`)
	and       = regexp.MustCompile(`\s+AND\s+`)
)

// parseFilter understands display_name="x", labels.k=v, labels.k:* and the id of
// a resource, joined by AND, which is what clients use to find their own. field
// is the name of the id's field, empty where there is none.
func parseFilter(filter, field, collection string) (func(name, display string, labels map[string]string) bool, error) {
	var terms []func(name, display string, labels map[string]string) bool
	if strings.TrimSpace(filter) == "" {
		return func(string, string, map[string]string) bool { return true }, nil
	}
	for _, term := range and.Split(strings.TrimSpace(filter), -1) {
		if m := nameTerm.FindStringSubmatch(term); m != nil {
			terms = append(terms, func(_, display string, _ map[string]string) bool { return display == m[1] })
			continue
		}
		if m := labelTerm.FindStringSubmatch(term); m != nil {
			terms = append(terms, func(_, _ string, labels map[string]string) bool {
				value, ok := labels[m[1]]
				return ok && (m[2] == ":" && m[3] == "*" || value == m[3])
			})
			continue
		}
		if m := idTerm.FindStringSubmatch(term); m != nil && field != "" && m[1] == field {
			terms = append(terms, func(name, _ string, _ map[string]string) bool {
				return strings.HasSuffix(name, "/"+collection+"/"+m[2])
			})
			continue
		}
		return nil, invalid("filter", "%q is not understood by the local cloud", term)
	}
	return func(name, display string, labels map[string]string) bool {
		for _, term := range terms {
			if !term(name, display, labels) {
				return false
			}
		}
		return true
	}, nil
}
