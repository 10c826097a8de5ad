package storage

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// conditions are what must be true of an object, or of a bucket, for a request
// to be done. All of them must hold, wherever they came from. They are stored
// with an open upload, which is judged again when it ends.
type conditions struct {
	GenerationMatch        []int64  `json:"generationMatch,omitempty"`
	GenerationNotMatch     []int64  `json:"generationNotMatch,omitempty"`
	MetagenerationMatch    []int64  `json:"metagenerationMatch,omitempty"`
	MetagenerationNotMatch []int64  `json:"metagenerationNotMatch,omitempty"`
	EtagMatch              []string `json:"etagMatch,omitempty"`
	EtagNotMatch           []string `json:"etagNotMatch,omitempty"`

	Reading bool `json:"reading,omitempty"` // decides the answer to If-None-Match
}

// readConditions reads those of the request's target, from query and headers.
func (c *call) readConditions() (conditions, error) {
	conds, err := conditionsIn(c.params, "if")
	if err != nil {
		return conds, err
	}
	conds.Reading = c.Method == http.MethodGet || c.Method == http.MethodHead
	for name, into := range map[string]*[]int64{
		"X-Goog-If-Generation-Match":     &conds.GenerationMatch,
		"X-Goog-If-Metageneration-Match": &conds.MetagenerationMatch,
	} {
		for _, text := range c.Header.Values(name) {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n < 0 {
				return conds, badRequest("invalid", "header %s is %q, not a generation", name, text)
			}
			*into = append(*into, n)
		}
	}
	conds.EtagMatch = etagsIn(c.Header.Values("If-Match"))
	conds.EtagNotMatch = etagsIn(c.Header.Values("If-None-Match"))
	return conds, nil
}

// conditionsIn reads the four of params whose names begin with prefix: "if" or
// "ifSource".
func conditionsIn(params url.Values, prefix string) (conditions, error) {
	var conds conditions
	for name, into := range map[string]*[]int64{
		"GenerationMatch":        &conds.GenerationMatch,
		"GenerationNotMatch":     &conds.GenerationNotMatch,
		"MetagenerationMatch":    &conds.MetagenerationMatch,
		"MetagenerationNotMatch": &conds.MetagenerationNotMatch,
	} {
		for _, text := range params[prefix+name] {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n < 0 {
				return conds, badRequest("invalidParameter", "%s is %q, not a generation", prefix+name, text)
			}
			*into = append(*into, n)
		}
	}
	return conds, nil
}

func etagsIn(headers []string) []string {
	var etags []string
	for _, h := range headers {
		for _, tag := range strings.Split(h, ",") {
			etags = append(etags, strings.Trim(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`))
		}
	}
	return etags
}

// check says whether the conditions hold of o, which is nil where there is no
// object: then its generation is 0.
func (c conditions) check(o *objectRecord) error {
	if o == nil {
		return c.holds(false, 0, 0, "")
	}
	return c.holds(true, o.Generation, o.Metageneration, o.etag())
}

// checkBucket is check for a bucket, which has no generation to name.
func (c conditions) checkBucket(b *bucketRecord) error {
	if len(c.GenerationMatch)+len(c.GenerationNotMatch) > 0 {
		return badRequest("invalid", "a bucket has no generation to match")
	}
	return c.holds(true, 0, b.Metageneration, b.etag())
}

// holds answers 412 where something that should match does not, and 304 where
// something that should not match does.
func (c conditions) holds(exists bool, generation, metageneration int64, etag string) error {
	for _, want := range c.GenerationMatch {
		if want != generation {
			return conditionNotMet("the generation is %s, and generation %d was to match", numberOrNone(generation), want)
		}
	}
	for _, want := range c.MetagenerationMatch {
		if !exists || want != metageneration {
			return conditionNotMet("the metageneration is %s, and metageneration %d was to match", numberOrNone(metageneration), want)
		}
	}
	if len(c.EtagMatch) > 0 && !etagAmong(c.EtagMatch, exists, etag) {
		return conditionNotMet("the etag is not the one in If-Match")
	}
	if slices.Contains(c.GenerationNotMatch, generation) {
		return refuse(http.StatusNotModified, "notModified", "the generation is %s", numberOrNone(generation))
	}
	if exists && slices.Contains(c.MetagenerationNotMatch, metageneration) {
		return refuse(http.StatusNotModified, "notModified", "the metageneration is %d", metageneration)
	}
	if etagAmong(c.EtagNotMatch, exists, etag) {
		if !c.Reading {
			return conditionNotMet("the etag is the one in If-None-Match")
		}
		no := refuse(http.StatusNotModified, "notModified", "the etag is %s", etag)
		no.header = http.Header{"Etag": {strconv.Quote(etag)}}
		return no
	}
	return nil
}

func etagAmong(etags []string, exists bool, etag string) bool {
	return exists && (slices.Contains(etags, etag) || slices.Contains(etags, "*"))
}

func numberOrNone(n int64) string {
	if n == 0 {
		return "none"
	}
	return strconv.FormatInt(n, 10)
}
