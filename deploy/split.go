package deploy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tftctl/tftctl/pkg/fault"
)

// Split is how traffic is shared: releases, and what else a target may serve,
// with whole percents. It is always whole: the shares add up to 100, or there
// are none. Who has nothing is left out.
type Split map[string]int

// ParseSplit reads "v12=90,v13=10". The empty text is a target that serves nobody.
func ParseSplit(s string) (Split, error) {
	split := Split{}
	if s == "" {
		return split, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		name, share, found := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.Atoi(share)
		switch {
		case !found || name == "" || err != nil || n < 0 || n > 100:
			return nil, fault.Newf(fault.Invalid, "%q is not a share of traffic", part).WithHint("write RELEASE=PERCENT,... in whole percents, such as v12=90,v13=10")
		case hasKey(split, name):
			return nil, fault.Newf(fault.Invalid, "%s has two shares", name).WithHint("name each release once")
		}
		split[name] = n
	}
	if sum := split.sum(); sum != 100 {
		return nil, fault.Newf(fault.Invalid, "shares add up to %d, not 100", sum).
			WithHint("a split is always whole: name every release that is to get traffic; who is not named gets none")
	}
	maps.DeleteFunc(split, func(_ string, n int) bool { return n == 0 })
	return split, nil
}

func hasKey(s Split, name string) bool { _, ok := s[name]; return ok }

func (s Split) sum() int {
	sum := 0
	for _, n := range s {
		sum += n
	}
	return sum
}

// String returns the form that ParseSplit reads: in order of release, without
// those who have nothing.
func (s Split) String() string {
	var b strings.Builder
	for _, name := range s.Names() {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s=%d", name, s[name])
	}
	return b.String()
}

// Names returns who has a share, in order of version.
func (s Split) Names() []string {
	var names []string
	for name, n := range s {
		if n > 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, compareReleases)
	return names
}

// Towards returns s with release at percent and the others sharing the rest
// in the proportion they have in s. Who has nothing in s gets nothing. Odd
// percents go to the largest remainder, then to the first by name, so the sum
// is exact.
func (s Split) Towards(release string, percent int) Split {
	if s.sum()-s[release] == 0 || percent >= 100 {
		return Split{release: 100}
	}
	others := slices.DeleteFunc(s.Names(), func(n string) bool { return n == release })
	rest, sum := 100-percent, s.sum()-s[release]
	out, given := Split{}, 0
	for _, n := range others {
		out[n] = s[n] * rest / sum
		given += out[n]
	}
	slices.SortStableFunc(others, func(a, b string) int { return s[b]*rest%sum - s[a]*rest%sum })
	for i := range rest - given {
		out[others[i]]++
	}
	out[release] = percent
	maps.DeleteFunc(out, func(_ string, n int) bool { return n == 0 })
	return out
}
