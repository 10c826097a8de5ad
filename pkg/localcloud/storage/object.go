package storage

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

func (s *Server) objectResource(r *http.Request, o *objectRecord) map[string]any {
	generation := strconv.FormatInt(o.Generation, 10)
	path := "/storage/v1/b/" + o.Bucket + "/o/" + url.PathEscape(o.Name)
	res := merge(o.Fields, map[string]any{
		"kind":                    "storage#object",
		"id":                      o.Bucket + "/" + o.Name + "/" + generation,
		"selfLink":                "http://" + r.Host + path,
		"mediaLink":               "http://" + r.Host + "/download" + path + "?generation=" + generation + "&alt=media",
		"bucket":                  o.Bucket,
		"name":                    o.Name,
		"generation":              generation,
		"metageneration":          strconv.FormatInt(o.Metageneration, 10),
		"size":                    strconv.FormatInt(o.Size, 10),
		"crc32c":                  o.Sums.CRC32C,
		"etag":                    o.etag(),
		"timeCreated":             stamp(o.Created),
		"timeFinalized":           stamp(o.Created),
		"timeStorageClassUpdated": stamp(o.Created),
		"updated":                 stamp(o.Updated),
	})
	if o.Sums.MD5 != "" {
		res["md5Hash"] = o.Sums.MD5
	}
	if o.Components > 0 {
		res["componentCount"] = o.Components
	}
	if !o.Deleted.IsZero() {
		res["timeDeleted"] = stamp(o.Deleted)
	}
	return res
}

// generation reads which generation a request means; 0 is the live one.
func (c *call) generation(name string) (int64, error) {
	v := c.params.Get(name)
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, badRequest("invalidParameter", "%s is %q, not a generation", name, v)
	}
	return n, nil
}

// readObject finds the object of c and judges the request's conditions.
func (tx *txn) readObject(c *call) (*objectRecord, error) {
	generation, err := c.generation("generation")
	if err != nil {
		return nil, err
	}
	conds, err := c.readConditions()
	if err != nil {
		return nil, err
	}
	o, err := tx.object(c.bucket, c.object, generation)
	if err != nil {
		return nil, err
	}
	return o, conds.check(o)
}

func (s *Server) getObject(c *call) (*reply, error) {
	if c.params.Get("alt") == "media" {
		return s.downloadObject(c)
	}
	var o *objectRecord
	err := s.view(func(tx *txn) (err error) {
		o, err = tx.readObject(c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &reply{body: s.objectResource(c.Request, o)}, nil
}

func (s *Server) patchObject(c *call) (*reply, error) {
	return s.changeObject(c, merge)
}

// updateObject replaces all that a caller may set; what cannot be taken away
// stays when it is not sent.
func (s *Server) updateObject(c *call) (*reply, error) {
	return s.changeObject(c, func(old, sent map[string]any) map[string]any {
		return merge(map[string]any{"storageClass": old["storageClass"]}, sent)
	})
}

// changeObject is possible under a hold too: it is the data that is held.
func (s *Server) changeObject(c *call, change func(old, sent map[string]any) map[string]any) (*reply, error) {
	sent, err := readJSON(c.Body)
	if err != nil {
		return nil, err
	}
	for name, want := range map[string]string{"bucket": c.bucket, "name": c.object} {
		if got, ok := sent[name]; ok && got != want {
			return nil, badRequest("invalid", "field %q is %v, not that of the path", name, got)
		}
	}
	fields, err := settable(sent, objectFields)
	if err != nil {
		return nil, err
	}
	var o *objectRecord
	err = s.update(nil, func(tx *txn) error {
		if o, err = tx.readObject(c); err != nil {
			return err
		}
		old := o.Fields
		o.Fields = change(old, fields)
		if err := checkObject(o.Fields, old); err != nil {
			return err
		}
		o.Metageneration++
		o.Updated = tx.now
		return tx.putObject(o)
	})
	if err != nil {
		return nil, err
	}
	return &reply{body: s.objectResource(c.Request, o)}, nil
}

// deleteObject makes the live generation noncurrent in a bucket with
// versioning, and removes it for good elsewhere or when it was named.
func (s *Server) deleteObject(c *call) (*reply, error) {
	err := s.update(nil, func(tx *txn) error {
		o, err := tx.readObject(c)
		if err != nil {
			return err
		}
		b, err := tx.bucket(c.bucket)
		if err != nil {
			return err
		}
		if err := mayGo(o, b, tx.now); err != nil {
			return err
		}
		if c.params.Get("generation") != "" && c.params.Get("generation") != "0" {
			return tx.remove(o)
		}
		return tx.retire(b, o.Name)
	})
	if err != nil {
		return nil, err
	}
	return &reply{}, nil
}

// listing is a question about the objects of a bucket.
type listing struct {
	bucket, prefix, delimiter, start, end string

	versions, trailing bool
	limit              int
	after              string // the last key that was answered, or a prefix and 0xff
}

func (c *call) readListing() (listing, error) {
	l := listing{
		bucket: c.bucket, prefix: c.params.Get("prefix"), delimiter: c.params.Get("delimiter"),
		start: c.params.Get("startOffset"), end: c.params.Get("endOffset"),
	}
	var err error
	if l.versions, err = c.flag("versions"); err != nil {
		return l, err
	}
	if l.trailing, err = c.flag("includeTrailingDelimiter"); err != nil {
		return l, err
	}
	if l.limit, l.after, err = c.page(); err != nil {
		return l, err
	}
	if l.after != "" && !strings.HasPrefix(l.after, l.bucket+"\x00") {
		return l, badRequest("invalidParameter", "pageToken belongs to another listing")
	}
	return l, nil
}

func (s *Server) listObjects(c *call) (*reply, error) {
	l, err := c.readListing()
	if err != nil {
		return nil, err
	}
	items, prefixes, next := []any{}, []string{}, ""
	err = s.view(func(tx *txn) error {
		if _, err := tx.bucket(c.bucket); err != nil {
			return err
		}
		found, under, last, err := tx.list(l)
		for _, o := range found {
			items = append(items, s.objectResource(c.Request, o))
		}
		prefixes, next = under, last
		return err
	})
	if err != nil {
		return nil, err
	}
	res := map[string]any{"kind": "storage#objects", "items": items}
	if len(prefixes) > 0 {
		res["prefixes"] = prefixes
	}
	if next != "" {
		res["nextPageToken"] = token(next)
	}
	return &reply{body: res}, nil
}

// list answers up to l.limit objects and prefixes together, in the order of
// names, and where to go on if there are more.
func (tx *txn) list(l listing) (objects []*objectRecord, prefixes []string, next string, err error) {
	from := max(l.bucket+"\x00"+max(l.prefix, l.start), l.after)
	last := ""
	err = tx.ScanFrom(objectKind, l.bucket+"\x00"+l.prefix, from, func(key string, text []byte) error {
		name := strings.SplitN(key, "\x00", 3)[1]
		if key == l.after || name < l.start || !strings.HasPrefix(name, l.prefix) {
			return nil
		}
		if l.end != "" && name >= l.end {
			return state.ErrStop
		}
		o := &objectRecord{}
		if err := decode(text, o); err != nil {
			return err
		}
		if !l.versions && !o.Deleted.IsZero() {
			return nil
		}
		under, isUnder := l.prefixOf(name)
		isItem := !isUnder || l.trailing && name == under
		isNew := isUnder && !slices.Contains(prefixes, under)
		if !isItem && !isNew {
			return nil
		}
		if len(objects)+len(prefixes) >= l.limit {
			next = last
			return state.ErrStop
		}
		if isNew {
			prefixes = append(prefixes, under)
		}
		if isItem {
			objects = append(objects, o)
		}
		last = key
		if isUnder && (!l.trailing || !l.versions) {
			last = l.bucket + "\x00" + under + "\xff" // behind every name under it
		}
		return nil
	})
	return objects, prefixes, next, err
}

// prefixOf cuts name behind the first delimiter after the listing's prefix.
func (l listing) prefixOf(name string) (string, bool) {
	if l.delimiter == "" {
		return "", false
	}
	before, _, found := strings.Cut(name[len(l.prefix):], l.delimiter)
	return l.prefix + before + l.delimiter, found
}

// hashHeader is what a reader verifies what it read with.
func hashHeader(o *objectRecord) string {
	if o.Sums.MD5 == "" {
		return "crc32c=" + o.Sums.CRC32C
	}
	return "crc32c=" + o.Sums.CRC32C + ",md5=" + o.Sums.MD5
}

// mediaHeader is what an answer with an object's data says about the object.
func mediaHeader(o *objectRecord) http.Header {
	h := http.Header{}
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Accept-Ranges", "bytes")
	h.Set("Etag", strconv.Quote(o.etag()))
	h.Set("Last-Modified", o.Created.UTC().Format(http.TimeFormat))
	h.Set("X-Goog-Generation", strconv.FormatInt(o.Generation, 10))
	h.Set("X-Goog-Metageneration", strconv.FormatInt(o.Metageneration, 10))
	h.Set("X-Goog-Hash", hashHeader(o))
	h.Set("X-Goog-Storage-Class", setting[string](o.Fields, "storageClass"))
	h.Set("X-Goog-Stored-Content-Length", strconv.FormatInt(o.Size, 10))
	h.Set("X-Goog-Stored-Content-Encoding", "identity")
	for field, header := range map[string]string{
		"contentType": "Content-Type", "contentEncoding": "Content-Encoding", "contentLanguage": "Content-Language",
		"contentDisposition": "Content-Disposition", "cacheControl": "Cache-Control",
	} {
		if v := setting[string](o.Fields, field); v != "" {
			h.Set(header, v)
		}
	}
	if v := h.Get("Content-Encoding"); v != "" {
		h.Set("X-Goog-Stored-Content-Encoding", v)
	}
	if o.Components > 0 {
		h.Set("X-Goog-Component-Count", strconv.FormatInt(o.Components, 10))
	}
	for key, value := range setting[map[string]any](o.Fields, "metadata") {
		if text, ok := value.(string); ok {
			h.Set("X-Goog-Meta-"+key, text)
		}
	}
	return h
}
