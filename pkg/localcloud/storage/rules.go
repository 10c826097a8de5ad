package storage

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// reservedNames are the first words of this server's own paths, where the Go
// client's reads put a bucket's name.
var reservedNames = strings.Fields("storage upload download batch apis v1beta1 _local v1 v2 v3 ui")

var (
	bucketName  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*[a-z0-9]$`)
	locationOf  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)
	labelKey    = regexp.MustCompile(`^[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]{0,62}$`)
	labelValue  = regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}_-]{0,63}$`)
	storageKind = strings.Fields("STANDARD NEARLINE COLDLINE ARCHIVE MULTI_REGIONAL REGIONAL DURABLE_REDUCED_AVAILABILITY")
)

// checkBucketName refuses the names that Google refuses, and those that would
// hide a part of this server.
func checkBucketName(name string) error {
	if slices.Contains(reservedNames, name) {
		return badRequest("invalid", "bucket name %q is reserved by the local cloud: reads of its objects would be taken for calls of an API", name)
	}
	limit := 63
	if strings.Contains(name, ".") {
		limit = 222
	}
	switch {
	case len(name) < 3 || len(name) > limit || !bucketName.MatchString(name):
		return badRequest("invalid", "invalid bucket name %q: 3 to 63 lower-case letters, digits, dashes, underscores and dots, a letter or digit at both ends", name)
	case strings.Contains(name, "..") || strings.Contains(name, ".-") || strings.Contains(name, "-."):
		return badRequest("invalid", "invalid bucket name %q: a dot stands between letters or digits", name)
	case slices.ContainsFunc(strings.Split(name, "."), func(part string) bool { return len(part) > 63 }):
		return badRequest("invalid", "invalid bucket name %q: between dots stand up to 63 characters", name)
	case net.ParseIP(name) != nil:
		return badRequest("invalid", "invalid bucket name %q: it is an address", name)
	case strings.HasPrefix(name, "goog") || strings.Contains(name, "google") || strings.Contains(name, "g00gle"):
		return badRequest("invalid", "invalid bucket name %q: it does not begin with goog nor contain google", name)
	}
	return nil
}

// checkObjectName refuses the names that Google refuses, and control characters,
// which Google advises against and our keys cannot hold.
func checkObjectName(name string) error {
	switch {
	case name == "":
		return badRequest("required", "the object has no name")
	case len(name) > 1024:
		return badRequest("invalid", "the object's name has %d bytes, more than 1024", len(name))
	case !utf8.ValidString(name):
		return badRequest("invalid", "the object's name is not UTF-8")
	case strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return badRequest("invalid", "the object's name has a control character")
	case name == "." || name == ".." || strings.HasPrefix(name, ".well-known/acme-challenge/"):
		return badRequest("invalid", "an object cannot be named %q", name)
	}
	return nil
}

// fieldKind is the form of a resource's field.
type fieldKind int

const (
	readOnly    fieldKind = iota // the server's own: ignored when sent
	checked                      // read and judged where it matters
	text                         // a string
	flag                         // true or false
	texts                        // a map of strings
	moment                       // a time as RFC 3339 writes it
	object                       // kept as it is
	list                         // kept as it is
	unsupported                  // taken only when it is empty
)

// objectFields are the fields of an object that this server knows.
var objectFields = map[string]fieldKind{
	"name": checked, "bucket": checked, "crc32c": checked, "md5Hash": checked,

	"contentType": text, "contentEncoding": text, "contentLanguage": text, "contentDisposition": text, "cacheControl": text,
	"storageClass": text, "metadata": texts, "customTime": moment, "temporaryHold": flag, "eventBasedHold": flag,

	"kind": readOnly, "id": readOnly, "selfLink": readOnly, "mediaLink": readOnly, "etag": readOnly, "generation": readOnly,
	"metageneration": readOnly, "size": readOnly, "timeCreated": readOnly, "updated": readOnly, "timeDeleted": readOnly,
	"timeStorageClassUpdated": readOnly, "timeFinalized": readOnly, "componentCount": readOnly, "owner": readOnly,
	"retentionExpirationTime": readOnly,

	"acl": unsupported, "retention": unsupported, "contexts": unsupported, "kmsKeyName": unsupported, "customerEncryption": unsupported,
}

// bucketFields are the fields of a bucket that this server knows. It keeps all
// of them and acts on versioning, retentionPolicy and defaultEventBasedHold.
var bucketFields = map[string]fieldKind{
	"name": checked,

	"location": text, "storageClass": text, "rpo": text, "labels": texts, "versioning": object, "iamConfiguration": object,
	"retentionPolicy": object, "softDeletePolicy": object, "lifecycle": object, "cors": list, "website": object, "logging": object,
	"billing": object, "autoclass": object, "customPlacementConfig": object, "defaultEventBasedHold": flag,

	"kind": readOnly, "id": readOnly, "selfLink": readOnly, "etag": readOnly, "generation": readOnly, "metageneration": readOnly,
	"timeCreated": readOnly, "updated": readOnly, "projectNumber": readOnly, "locationType": readOnly, "owner": readOnly,
	"satisfiesPZS": readOnly, "satisfiesPZI": readOnly,

	"acl": unsupported, "defaultObjectAcl": unsupported, "encryption": unsupported, "hierarchicalNamespace": unsupported,
	"objectRetention": unsupported, "ipFilter": unsupported,
}

// settable returns what of sent a caller may set, and refuses what this server
// would have to forget. A null stays: in a patch it removes.
func settable(sent map[string]any, known map[string]fieldKind) (map[string]any, error) {
	kept := map[string]any{}
	for name, value := range sent {
		kind, ok := known[name]
		switch {
		case !ok:
			return nil, badRequest("invalid", "unknown field %q", name)
		case kind == unsupported && !isEmpty(value):
			return nil, notImplemented("field %s", name)
		case kind == readOnly || kind == checked || kind == unsupported:
			continue
		case value != nil && !kind.fits(value):
			return nil, badRequest("invalid", "field %q has the wrong form", name)
		}
		kept[name] = value
	}
	return kept, nil
}

func (k fieldKind) fits(value any) bool {
	switch v := value.(type) {
	case string:
		if k == moment {
			_, err := time.Parse(time.RFC3339, v)
			return err == nil
		}
		return k == text
	case bool:
		return k == flag
	case []any:
		return k == list
	case map[string]any:
		if k == texts {
			for _, entry := range v {
				if _, ok := entry.(string); !ok && entry != nil {
					return false
				}
			}
			return true
		}
		return k == object
	default:
		return false
	}
}

func isEmpty(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	default:
		return false
	}
}

// merge applies a patch (RFC 7396): objects go into each other, a null removes.
func merge(old, patch map[string]any) map[string]any {
	merged := maps.Clone(old)
	if merged == nil {
		merged = map[string]any{}
	}
	for name, value := range patch {
		switch v := value.(type) {
		case nil:
			delete(merged, name)
		case map[string]any:
			before, _ := merged[name].(map[string]any)
			merged[name] = merge(before, v)
		default:
			merged[name] = v
		}
	}
	return merged
}

// checkBucket holds the settings of a bucket against what Google takes. old is
// nil for a new bucket.
func checkBucket(fields, old map[string]any) error {
	if class := setting[string](fields, "storageClass"); class != "" && !slices.Contains(storageKind, class) {
		return badRequest("invalid", "unknown storage class %q", class)
	}
	location := setting[string](fields, "location")
	if !locationOf.MatchString(location) {
		return badRequest("invalid", "invalid location %q", location)
	}
	if old != nil && !strings.EqualFold(location, setting[string](old, "location")) {
		return badRequest("invalid", "a bucket's location cannot be changed")
	}
	labels := setting[map[string]any](fields, "labels")
	if len(labels) > 64 {
		return badRequest("invalid", "%d labels, more than 64", len(labels))
	}
	for key, value := range labels {
		if text, _ := value.(string); !labelKey.MatchString(key) || !labelValue.MatchString(text) {
			return badRequest("invalid", "invalid label %s=%v: lower-case letters, digits, dashes and underscores, a letter first, up to 63", key, value)
		}
	}
	for _, path := range [][]string{{"retentionPolicy", "retentionPeriod"}, {"softDeletePolicy", "retentionDurationSeconds"}} {
		policy := setting[map[string]any](fields, path[0])
		if policy == nil {
			continue
		}
		if n, ok := integer(policy[path[1]]); !ok || n < 0 {
			return badRequest("invalid", "%s.%s is not a number of seconds", path[0], path[1])
		}
	}
	for _, path := range [][]string{{"versioning", "enabled"}, {"iamConfiguration", "uniformBucketLevelAccess", "enabled"}} {
		if err := checkFlag(fields, path...); err != nil {
			return err
		}
	}
	if p := setting[string](fields, "iamConfiguration", "publicAccessPrevention"); p != "" && p != "inherited" && p != "enforced" {
		return badRequest("invalid", "publicAccessPrevention is %q, not inherited or enforced", p)
	}
	return nil
}

func checkFlag(fields map[string]any, path ...string) error {
	at := setting[map[string]any](fields, path[:len(path)-1]...)
	if v, there := at[path[len(path)-1]]; there {
		if _, ok := v.(bool); !ok {
			return badRequest("invalid", "%s is not true or false", strings.Join(path, "."))
		}
	}
	return nil
}

// integer reads an int64, which JSON may carry as text.
func integer(value any) (int64, bool) {
	switch v := value.(type) {
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	default:
		return 0, false
	}
}

// bucketDefaults fills in what Google fills in.
func bucketDefaults(fields map[string]any, now time.Time) map[string]any {
	filled := merge(map[string]any{
		"location":     "US",
		"storageClass": "STANDARD",
		"iamConfiguration": map[string]any{
			"publicAccessPrevention":   "inherited",
			"uniformBucketLevelAccess": map[string]any{"enabled": false},
		},
		"softDeletePolicy": map[string]any{"retentionDurationSeconds": "604800"},
	}, fields)
	filled["location"] = strings.ToUpper(setting[string](filled, "location"))
	for policy, seconds := range map[string]string{"softDeletePolicy": "retentionDurationSeconds", "retentionPolicy": "retentionPeriod"} {
		p := setting[map[string]any](filled, policy)
		if p == nil {
			continue
		}
		if n, ok := integer(p[seconds]); ok {
			p[seconds] = strconv.FormatInt(n, 10) // as JSON carries an int64
		}
		if p["effectiveTime"] == nil {
			p["effectiveTime"] = stamp(now)
		}
	}
	access := setting[map[string]any](filled, "iamConfiguration", "uniformBucketLevelAccess")
	if on, _ := access["enabled"].(bool); !on {
		delete(access, "lockedTime")
	} else if access["lockedTime"] == nil {
		access["lockedTime"] = stamp(now.Add(90 * 24 * time.Hour))
	}
	return filled
}

// locationType tells a region from the places that are several.
func locationType(location string) string {
	switch location {
	case "US", "EU", "ASIA":
		return "multi-region"
	case "NAM4", "EUR4", "EUR5", "EUR7", "EUR8", "ASIA1":
		return "dual-region"
	default:
		return "region"
	}
}

// checkObject holds the settings of an object against what Google takes. old is
// nil for a new object.
func checkObject(fields, old map[string]any) error {
	class := setting[string](fields, "storageClass")
	if class != "" && !slices.Contains(storageKind, class) {
		return badRequest("invalid", "unknown storage class %q", class)
	}
	if old == nil {
		return nil
	}
	if class != setting[string](old, "storageClass") {
		return badRequest("invalid", "an object's storage class is changed by a rewrite")
	}
	before, _ := time.Parse(time.RFC3339, setting[string](old, "customTime")) // none: the zero time
	after, _ := time.Parse(time.RFC3339, setting[string](fields, "customTime"))
	if after.Before(before) {
		return badRequest("invalid", "customTime cannot be removed or set to an earlier time")
	}
	return nil
}

// objectDefaults fills in what a new object gets from its bucket.
func objectDefaults(fields map[string]any, b *bucketRecord) map[string]any {
	filled := merge(map[string]any{"storageClass": setting[string](b.Fields, "storageClass")}, fields)
	if setting[bool](b.Fields, "defaultEventBasedHold") {
		filled["eventBasedHold"] = true
	}
	return filled
}

// mayGo says whether a generation may be deleted or replaced: a hold or its
// bucket's retention policy may forbid it.
func mayGo(o *objectRecord, b *bucketRecord, now time.Time) error {
	for _, hold := range []string{"temporaryHold", "eventBasedHold"} {
		if setting[bool](o.Fields, hold) {
			return refuse(http.StatusForbidden, "forbidden", "object %s/%s is under an active %s and cannot be deleted or overwritten", o.Bucket, o.Name, hold)
		}
	}
	if until, ok := retainedUntil(o, b); ok && now.Before(until) {
		return refuse(http.StatusForbidden, "retentionPolicyNotMet", "object %s/%s is retained until %s and cannot be deleted or overwritten", o.Bucket, o.Name, stamp(until))
	}
	return nil
}

func retainedUntil(o *objectRecord, b *bucketRecord) (time.Time, bool) {
	seconds, ok := integer(setting[map[string]any](b.Fields, "retentionPolicy")["retentionPeriod"])
	return o.Created.Add(time.Duration(seconds) * time.Second), ok && seconds > 0
}

// declaredSums reads the checksums that a caller promises, in an object's
// fields and in X-Goog-Hash.
func declaredSums(fields map[string]any, h http.Header) (sums, error) {
	var s sums
	for name, into := range map[string]*string{"crc32c": &s.CRC32C, "md5Hash": &s.MD5} {
		switch v := fields[name].(type) {
		case nil:
		case string:
			*into = v
		default:
			return s, badRequest("invalid", "field %q has the wrong form", name)
		}
	}
	for _, header := range h.Values("X-Goog-Hash") {
		for _, part := range strings.Split(header, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			var err error
			switch name {
			case "crc32c":
				s.CRC32C, err = one(s.CRC32C, value)
			case "md5":
				s.MD5, err = one(s.MD5, value)
			default:
				err = badRequest("invalid", "X-Goog-Hash has %q, which is neither crc32c nor md5", name)
			}
			if err != nil {
				return s, err
			}
		}
	}
	return s, s.check()
}

// and adds later promises to earlier ones.
func (s sums) and(later sums) (sums, error) {
	var err error
	if later.CRC32C != "" {
		if s.CRC32C, err = one(s.CRC32C, later.CRC32C); err != nil {
			return s, err
		}
	}
	if later.MD5 != "" {
		s.MD5, err = one(s.MD5, later.MD5)
	}
	return s, err
}

func one(before, now string) (string, error) {
	if before != "" && before != now {
		return "", badRequest("invalid", "two different checksums are declared: %s and %s", before, now)
	}
	return now, nil
}

// check says whether the checksums can be right at all.
func (s sums) check() error {
	for _, c := range []struct {
		name, value string
		length      int
	}{{"crc32c", s.CRC32C, 4}, {"md5", s.MD5, 16}} {
		if c.value == "" {
			continue
		}
		if raw, err := base64.StdEncoding.DecodeString(c.value); err != nil || len(raw) != c.length {
			return badRequest("invalid", "%s %q is not %d bytes in base64", c.name, c.value, c.length)
		}
	}
	return nil
}

// verify holds what was received against what was declared.
func (s sums) verify(received sums) error {
	for _, c := range []struct{ name, declared, received string }{
		{"CRC32C", s.CRC32C, received.CRC32C}, {"MD5", s.MD5, received.MD5},
	} {
		if c.declared != "" && c.declared != c.received {
			return badRequest("invalid", "provided %s %q doesn't match calculated %s %q", c.name, c.declared, c.name, c.received)
		}
	}
	return nil
}

// byteRange is the part [first, first+length) of something.
type byteRange struct{ first, length int64 }

// parseRange reads a Range header over size bytes. It answers whole for a
// header that asks for something else than one range, as HTTP wants it.
func parseRange(header string, size int64) (part byteRange, whole bool, err error) {
	whole = true
	spec, ok := strings.CutPrefix(header, "bytes=")
	from, to, dash := strings.Cut(spec, "-")
	if !ok || !dash {
		return part, whole, nil
	}
	unsatisfiable := func() (byteRange, bool, error) {
		no := refuse(http.StatusRequestedRangeNotSatisfiable, "requestedRangeNotSatisfiable", "range %q of %d bytes cannot be satisfied", header, size)
		no.header = http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", size)}}
		return byteRange{}, false, no
	}
	if from == "" {
		last, ok := number(to)
		switch {
		case !ok:
			return part, whole, nil
		case last == 0 || size == 0:
			return unsatisfiable()
		}
		last = min(last, size)
		return byteRange{size - last, last}, false, nil
	}
	first, ok := number(from)
	if !ok {
		return part, whole, nil
	}
	last := size - 1
	if to != "" {
		n, ok := number(to)
		if !ok || n < first {
			return part, whole, nil
		}
		last = min(n, last)
	}
	if first >= size {
		return unsatisfiable()
	}
	return byteRange{first, last - first + 1}, false, nil
}

// chunk is what a request says that it adds to an upload.
type chunk struct {
	first, length int64
	total         int64 // -1: not known yet
	asksStatus    bool  // nothing added; total may be said
}

// chunkUnit is what every chunk but the last is a multiple of.
const chunkUnit = 256 << 10

var contentRange = regexp.MustCompile(`^bytes (?:(\*)|(\d{1,18})-(\d{1,18}))/(\*|\d{1,18})$`)

// parseChunk reads Content-Range. length is the length of the body, -1 where it
// is not told.
func parseChunk(header string, length int64) (chunk, error) {
	if header == "" {
		// The whole object, or the rest that nobody described: it starts at the beginning.
		return chunk{length: length, total: length}, nil
	}
	m := contentRange.FindStringSubmatch(header)
	if m == nil {
		return chunk{}, badRequest("invalid", "Content-Range %q cannot be read", header)
	}
	c := chunk{total: -1, asksStatus: m[1] == "*"}
	if m[4] != "*" {
		c.total, _ = strconv.ParseInt(m[4], 10, 64) // digits that fit
	}
	if c.asksStatus {
		if length > 0 {
			return c, badRequest("invalid", "Content-Range %q has a body of %d bytes", header, length)
		}
		return c, nil
	}
	last, _ := strconv.ParseInt(m[3], 10, 64) // digits that fit
	c.first, _ = strconv.ParseInt(m[2], 10, 64)
	c.length = last - c.first + 1
	switch {
	case c.length <= 0 || c.total >= 0 && last >= c.total:
		return c, badRequest("invalid", "Content-Range %q contradicts itself", header)
	case length >= 0 && length != c.length:
		return c, badRequest("invalid", "Content-Range %q has a body of %d bytes", header, length)
	case c.first+c.length != c.total && c.length%chunkUnit != 0:
		return c, badRequest("invalid", "a chunk of %d bytes is not the last one and no multiple of %d", c.length, chunkUnit)
	}
	return c, nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// number reads a number of bytes that is not below 0.
func number(text string) (n int64, ok bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0
}
