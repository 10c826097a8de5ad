package storage

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
)

// insertObject is every POST of an object: in one request, or the first of a
// resumable upload, or a chunk of one, since the Go client POSTs those too.
func (s *Server) insertObject(c *call) (*reply, error) {
	if c.params.Has("upload_id") {
		return s.continueUpload(c)
	}
	switch kind := c.params.Get("uploadType"); kind {
	case "media":
		return s.insertMedia(c)
	case "multipart":
		return s.insertMultipart(c)
	case "resumable":
		return s.startUpload(c)
	default:
		return nil, badRequest("invalidParameter", "uploadType is %q, not media, multipart or resumable", kind)
	}
}

// insertMedia takes an object whose data is the body and whose name is in the query.
func (s *Server) insertMedia(c *call) (*reply, error) {
	sent := map[string]any{}
	if v := c.Header.Get("Content-Type"); v != "" {
		sent["contentType"] = v
	}
	n, declared, err := c.newObject(sent)
	if err != nil {
		return nil, err
	}
	return s.insert(c, n, declared, c.Body)
}

// insertMultipart takes an object whose body is its resource, then its data.
func (s *Server) insertMultipart(c *call) (*reply, error) {
	kind, params, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "multipart/") || params["boundary"] == "" {
		return nil, badRequest("invalid", "a multipart upload has Content-Type multipart/related with a boundary")
	}
	parts := multipart.NewReader(c.Body, params["boundary"])
	resource, err := nextPart(parts)
	if err != nil {
		return nil, err
	}
	sent, err := readJSON(resource)
	if err != nil {
		return nil, err
	}
	data, err := nextPart(parts)
	if err != nil {
		return nil, err
	}
	if v := data.Header.Get("Content-Type"); v != "" && sent["contentType"] == nil {
		sent["contentType"] = v
	}
	n, declared, err := c.newObject(sent)
	if err != nil {
		return nil, err
	}
	return s.insert(c, n, declared, io.MultiReader(data, &lastPart{parts}))
}

func nextPart(parts *multipart.Reader) (*multipart.Part, error) {
	p, err := parts.NextRawPart()
	if err != nil {
		return nil, badRequest("invalid", "a multipart upload has two parts: the object's resource, then its data")
	}
	switch coding := strings.ToLower(p.Header.Get("Content-Transfer-Encoding")); coding {
	case "", "binary", "7bit", "8bit":
		return p, nil
	default:
		return nil, notImplemented("Content-Transfer-Encoding %s", coding)
	}
}

// lastPart is empty, and an error if the body does not end where it should: a
// body that was cut off there lacks nothing that would be missed otherwise.
type lastPart struct{ parts *multipart.Reader }

func (l *lastPart) Read([]byte) (int, error) {
	_, err := l.parts.NextRawPart()
	if err == nil {
		return 0, badRequest("invalid", "a multipart upload has two parts, and this one has more")
	}
	if err != io.EOF { //nolint:errorlint // an EOF inside another error is a body that ends too early
		return 0, fmt.Errorf("end of the body: %v", err) //nolint:errorlint // as above: it must not be taken for an end
	}
	return 0, io.EOF
}

// newObject reads what a request says about the object that it brings.
func (c *call) newObject(sent map[string]any) (newObject, sums, error) {
	n := newObject{Bucket: c.bucket, Name: c.params.Get("name")}
	if bucket, ok := sent["bucket"]; ok && bucket != c.bucket && bucket != "" {
		return n, sums{}, badRequest("invalid", "field bucket is %v, not that of the path", bucket)
	}
	if !c.params.Has("name") {
		n.Name, _ = sent["name"].(string)
	}
	if err := checkObjectName(n.Name); err != nil {
		return n, sums{}, err
	}
	declared, err := declaredSums(sent, c.Header)
	if err != nil {
		return n, sums{}, err
	}
	if n.Fields, err = newFields(sent); err != nil {
		return n, sums{}, err
	}
	if v := c.params.Get("contentEncoding"); v != "" {
		n.Fields["contentEncoding"] = v
	}
	n.Conditions, err = c.readConditions()
	return n, declared, err
}

// newFields are the settings of a new object.
func newFields(sent map[string]any) (map[string]any, error) {
	fields, err := settable(sent, objectFields)
	if err != nil {
		return nil, err
	}
	fields = merge(nil, fields)
	return fields, checkObject(fields, nil)
}

// insert receives the data, and makes the object if the data is what was
// declared and the conditions hold at that moment.
func (s *Server) insert(c *call, n newObject, declared sums, data io.Reader) (*reply, error) {
	if err := s.view(func(tx *txn) error { _, err := tx.bucket(n.Bucket); return err }); err != nil {
		return nil, err
	}
	d, err := s.blobs.receive(data)
	if err != nil {
		return nil, errBody(err)
	}
	defer d.discard()
	if err := declared.verify(d.sums); err != nil {
		return nil, err
	}
	var o *objectRecord
	err = s.update(d, func(tx *txn) error {
		o, err = tx.insert(n, d.content())
		return err
	})
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: s.objectResource(c.Request, o)}, nil
}
