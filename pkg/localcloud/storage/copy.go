package storage

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxSources is how many objects one compose may join.
const maxSources = 32

// source is an object that another one is made of.
type source struct {
	bucket, name string
	generation   int64
	conditions   conditions
}

// find returns the object of the source and judges its conditions.
func (src source) find(tx *txn) (*objectRecord, error) {
	o, err := tx.object(src.bucket, src.name, src.generation)
	if err != nil {
		return nil, err
	}
	if err := src.conditions.check(o); err != nil {
		return nil, fmt.Errorf("source %s/%s: %w", src.bucket, src.name, err)
	}
	return o, nil
}

// rewrite is what rewriteTo and copyTo have in common: where from, what becomes of it.
type rewrite struct {
	from source
	to   newObject
	// keeps says that the settings are the source's: no resource was sent.
	keeps    bool
	declared sums
}

func (c *call) readRewrite() (rewrite, error) {
	var rw rewrite
	var err error
	rw.from = source{bucket: c.bucket, name: c.object}
	if rw.from.generation, err = c.generation("sourceGeneration"); err != nil {
		return rw, err
	}
	if rw.from.conditions, err = conditionsIn(c.params, "ifSource"); err != nil {
		return rw, err
	}
	rw.to = newObject{Bucket: c.toBucket, Name: c.toObject}
	if err := checkObjectName(c.toObject); err != nil {
		return rw, err
	}
	if rw.to.Conditions, err = c.readConditions(); err != nil {
		return rw, err
	}
	sent, err := readJSON(c.Body)
	if err != nil {
		return rw, err
	}
	for name, want := range map[string]string{"bucket": c.toBucket, "name": c.toObject} {
		if got, ok := sent[name]; ok && got != want && got != "" {
			return rw, badRequest("invalid", "field %q is %v, not that of the path", name, got)
		}
	}
	if rw.declared, err = declaredSums(sent, http.Header{}); err != nil {
		return rw, err
	}
	if rw.to.Fields, err = newFields(sent); err != nil {
		return rw, err
	}
	rw.keeps = len(rw.to.Fields) == 0
	return rw, nil
}

// copy makes the new generation out of the same bytes.
func (rw rewrite) copy(tx *txn) (*objectRecord, error) {
	from, err := rw.from.find(tx)
	if err != nil {
		return nil, err
	}
	if err := rw.declared.verify(from.Sums); err != nil {
		return nil, err
	}
	to := rw.to
	if rw.keeps {
		to.Fields = inherited(from.Fields)
	}
	return tx.insert(to, content{size: from.Size, sha256: from.SHA256, sums: from.Sums, components: from.Components})
}

// inherited are the settings that a copy takes over: a hold is on one object,
// and the class is the new bucket's.
func inherited(fields map[string]any) map[string]any {
	return merge(fields, map[string]any{"temporaryHold": nil, "eventBasedHold": nil, "storageClass": nil})
}

func (s *Server) copyObject(c *call) (*reply, error) {
	rw, err := c.readRewrite()
	if err != nil {
		return nil, err
	}
	var o *objectRecord
	err = s.update(nil, func(tx *txn) error {
		o, err = rw.copy(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &reply{body: s.objectResource(c.Request, o)}, nil
}

// rewriteToken is how far a rewrite is that its client asked to be done in
// steps. It goes to the client and back; nothing is stored before the last one.
type rewriteToken struct {
	From       string `json:"from"`
	To         string `json:"to"`
	Generation int64  `json:"generation"`
	Written    int64  `json:"written"`
}

func (s *Server) rewriteObject(c *call) (*reply, error) {
	rw, err := c.readRewrite()
	if err != nil {
		return nil, err
	}
	perCall, err := c.bytesPerCall()
	if err != nil {
		return nil, err
	}
	var o *objectRecord
	var size int64
	var next *rewriteToken
	err = s.update(nil, func(tx *txn) error {
		from, err := rw.from.find(tx)
		if err != nil {
			return err
		}
		step := rewriteToken{From: c.bucket + "/" + c.object, To: c.toBucket + "/" + c.toObject, Generation: from.Generation}
		if err := step.resume(c.params.Get("rewriteToken")); err != nil {
			return err
		}
		size = from.Size
		if perCall > 0 && size-step.Written > perCall {
			step.Written += perCall
			next = &step
			return nil
		}
		o, err = rw.copy(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	res := map[string]any{"kind": "storage#rewriteResponse", "objectSize": strconv.FormatInt(size, 10), "done": next == nil}
	if next != nil {
		res["totalBytesRewritten"] = strconv.FormatInt(next.Written, 10)
		res["rewriteToken"] = next.encode()
	} else {
		res["totalBytesRewritten"] = strconv.FormatInt(size, 10)
		res["resource"] = s.objectResource(c.Request, o)
	}
	return &reply{body: res}, nil
}

func (c *call) bytesPerCall() (int64, error) {
	v := c.params.Get("maxBytesRewrittenPerCall")
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n <= 0 || n%(1<<20) != 0 {
		return 0, badRequest("invalidParameter", "maxBytesRewrittenPerCall is %q, not a multiple of %d", v, 1<<20)
	}
	return n, nil
}

func (t rewriteToken) encode() string {
	text, _ := json.Marshal(t) // strings and numbers always are JSON
	return base64.RawURLEncoding.EncodeToString(text)
}

// resume takes over how far an earlier call came, if it was about the same.
func (t *rewriteToken) resume(token string) error {
	if token == "" {
		return nil
	}
	var before rewriteToken
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(text, &before)
	}
	same := before.From == t.From && before.To == t.To && before.Generation == t.Generation && before.Written >= 0
	if err != nil || !same {
		return badRequest("invalidParameter", "rewriteToken does not belong to this rewrite")
	}
	t.Written = before.Written
	return nil
}

// composition is a compose request as it was read.
type composition struct {
	sources []source
	to      newObject
	declare sums
	cleanUp bool // delete the sources
}

func (c *call) readComposition() (composition, error) {
	var m composition
	sent, err := readJSON(c.Body)
	if err != nil {
		return m, err
	}
	for name := range sent {
		if !slices.Contains([]string{"kind", "destination", "sourceObjects", "deleteSourceObjects"}, name) {
			return m, badRequest("invalid", "unknown field %q of a compose request", name)
		}
	}
	m.cleanUp = setting[bool](sent, "deleteSourceObjects")
	list, _ := sent["sourceObjects"].([]any)
	if len(list) < 1 || len(list) > maxSources {
		return m, badRequest("invalid", "%d source objects, not 1 to %d", len(list), maxSources)
	}
	for _, entry := range list {
		fields, _ := entry.(map[string]any)
		src, err := readSource(c.bucket, fields)
		if err != nil {
			return m, err
		}
		m.sources = append(m.sources, src)
	}
	m.to = newObject{Bucket: c.bucket, Name: c.object}
	if err := checkObjectName(c.object); err != nil {
		return m, err
	}
	if m.to.Conditions, err = c.readConditions(); err != nil {
		return m, err
	}
	destination, ok := sent["destination"].(map[string]any)
	if !ok && sent["destination"] != nil {
		return m, badRequest("invalid", "field %q has the wrong form", "destination")
	}
	for name, want := range map[string]string{"bucket": c.bucket, "name": c.object} {
		if got, ok := destination[name]; ok && got != want && got != "" {
			return m, badRequest("invalid", "field %q is %v, not that of the path", name, got)
		}
	}
	if m.declare, err = declaredSums(destination, http.Header{}); err != nil {
		return m, err
	}
	if m.declare.MD5 != "" {
		return m, badRequest("invalid", "a composed object has no MD5 to declare")
	}
	m.to.Fields, err = newFields(destination)
	return m, err
}

func readSource(bucket string, fields map[string]any) (source, error) {
	src := source{bucket: bucket}
	for name, value := range fields {
		switch name {
		case "name":
			src.name, _ = value.(string)
		case "generation":
			n, ok := integer(value)
			if !ok || n < 0 {
				return src, badRequest("invalid", "generation %v of a source is no generation", value)
			}
			src.generation = n
		case "objectPreconditions":
			conds, ok := value.(map[string]any)
			for name, want := range conds {
				n, isNumber := integer(want)
				if name != "ifGenerationMatch" || !isNumber || n < 0 {
					return src, badRequest("invalid", "precondition %s=%v of a source is not a generation to match", name, want)
				}
				src.conditions.GenerationMatch = append(src.conditions.GenerationMatch, n)
			}
			if !ok && value != nil {
				return src, badRequest("invalid", "field %q has the wrong form", name)
			}
		default:
			return src, badRequest("invalid", "unknown field %q of a source", name)
		}
	}
	if src.name == "" {
		return src, badRequest("required", "a source object has no name")
	}
	return src, nil
}

// errReplaced is that a source was another one when the data had been read.
var errReplaced = errors.New("a source was replaced while it was read")

// composeObject joins objects of a bucket into one. The data is read before the
// transaction and the sources are looked at again within it: if one was replaced
// meanwhile, all is done anew.
func (s *Server) composeObject(c *call) (*reply, error) {
	m, err := c.readComposition()
	if err != nil {
		return nil, err
	}
	var o *objectRecord
	for o == nil {
		if o, err = s.compose(m); err != nil && (!errors.Is(err, errReplaced) || c.Context().Err() != nil) {
			return nil, err
		}
	}
	return &reply{body: s.objectResource(c.Request, o)}, nil
}

func (s *Server) compose(m composition) (*objectRecord, error) {
	d, parts, err := s.join(m.sources)
	if err != nil {
		return nil, err
	}
	defer d.discard()
	if err := m.declare.verify(d.sums); err != nil {
		return nil, err
	}
	joined := d.content()
	joined.sums.MD5 = ""
	for _, part := range parts {
		joined.components += max(part.Components, 1)
	}
	var o *objectRecord
	err = s.update(d, func(tx *txn) error {
		for i, src := range m.sources {
			now, err := src.find(tx)
			if err != nil {
				return err
			}
			if now.Generation != parts[i].Generation {
				return errReplaced
			}
		}
		if o, err = tx.insert(m.to, joined); err != nil || !m.cleanUp {
			return err
		}
		return tx.deleteSources(m, parts)
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// deleteSources does for each source what deleteObject would have done.
func (tx *txn) deleteSources(m composition, parts []*objectRecord) error {
	b, err := tx.bucket(m.to.Bucket)
	if err != nil {
		return err
	}
	done := map[string]bool{m.to.Name: true} // the new object took the place of that one
	for i, part := range parts {
		if done[part.Name] {
			continue
		}
		done[part.Name] = true
		if err := mayGo(part, b, tx.now); err != nil {
			return err
		}
		if m.sources[i].generation != 0 {
			err = tx.remove(part)
		} else {
			err = tx.retire(b, part.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// join writes the data of sources one after the other into a draft.
func (s *Server) join(sources []source) (*draft, []*objectRecord, error) {
	var parts []*objectRecord
	var data []io.Reader
	for _, src := range sources {
		o, f, err := s.openObject(src.find)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		parts = append(parts, o)
		data = append(data, f)
	}
	d, err := s.blobs.receive(io.MultiReader(data...))
	return d, parts, err
}

// CopyPrefix copies all objects under the folder srcPrefix of a bucket to the
// folder dstPrefix of another, which is made if it is not there, in one
// transaction, and returns how many they were. A prefix means a folder: without
// a slash at its end it gets one; an empty one is the whole bucket.
//
// It is how UploadModel keeps a model as it was: no bytes are copied, and what
// later becomes of the source does not matter.
func (s *Server) CopyPrefix(ctx context.Context, srcBucket, srcPrefix, dstBucket, dstPrefix string) (int, error) {
	srcPrefix, dstPrefix = asFolder(srcPrefix), asFolder(dstPrefix)
	n := 0
	err := s.update(nil, func(tx *txn) error {
		b, err := tx.bucket(srcBucket)
		if err != nil {
			return err
		}
		objects, _, _, err := tx.list(listing{bucket: srcBucket, prefix: srcPrefix, limit: int(^uint(0) >> 1)})
		if err != nil {
			return err
		}
		if tx.Get(bucketKind, dstBucket) == nil {
			location := map[string]any{"location": setting[string](b.Fields, "location")}
			if _, err := tx.insertBucket(dstBucket, b.Project, location); err != nil {
				return err
			}
		}
		for _, o := range objects {
			if err := ctx.Err(); err != nil {
				return err
			}
			to := newObject{Bucket: dstBucket, Name: dstPrefix + strings.TrimPrefix(o.Name, srcPrefix)}
			if err := checkObjectName(to.Name); err != nil {
				return err
			}
			rw := rewrite{from: source{bucket: srcBucket, name: o.Name}, to: to, keeps: true}
			if _, err := rw.copy(tx); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("copy gs://%s/%s to gs://%s/%s: %w", srcBucket, srcPrefix, dstBucket, dstPrefix, err)
	}
	return n, nil
}

func asFolder(prefix string) string {
	if prefix == "" || strings.HasSuffix(prefix, "/") {
		return prefix
	}
	return prefix + "/"
}
