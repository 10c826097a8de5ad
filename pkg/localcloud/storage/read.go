package storage

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// openObject finds an object and opens its data while nobody can remove it.
func (s *Server) openObject(find func(*txn) (*objectRecord, error)) (*objectRecord, *os.File, error) {
	s.blobs.gate.RLock()
	defer s.blobs.gate.RUnlock()
	var o *objectRecord
	err := s.view(func(tx *txn) (err error) {
		o, err = find(tx)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	f, err := s.blobs.open(o.SHA256)
	return o, f, err
}

// downloadObject answers the data of an object: a read with alt=media, or one
// of the XML API.
func (s *Server) downloadObject(c *call) (*reply, error) {
	o, f, err := s.openObject(func(tx *txn) (*objectRecord, error) { return tx.readObject(c) })
	if err != nil {
		return nil, err
	}
	answer, err := media(c.Header, o, f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return answer, nil
}

// media answers all of an object, or the part that was asked for. Data that is
// stored compressed is unpacked for whoever does not accept it, and then there
// are no parts.
func media(asked http.Header, o *objectRecord, f *os.File) (*reply, error) {
	h := mediaHeader(o)
	if h.Get("Content-Encoding") == "gzip" && !acceptsGzip(asked) && !strings.Contains(h.Get("Cache-Control"), "no-transform") {
		if unpacked, err := gzip.NewReader(f); err == nil {
			h.Del("Content-Encoding")
			h.Del("Accept-Ranges")
			h.Set("Warning", `214 UploadServer gunzipped`)
			return &reply{header: h, stream: unpacking{unpacked, f}, length: -1}, nil
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil { // it only claims to be gzip
			return nil, err
		}
	}
	part, whole, err := parseRange(asked.Get("Range"), o.Size)
	if tag := asked.Get("If-Range"); tag != "" && strings.Trim(tag, `"`) != o.etag() {
		whole, err = true, nil
	}
	switch {
	case err != nil:
		return nil, err
	case whole:
		return &reply{header: h, stream: f, length: o.Size}, nil
	}
	h.Set("Content-Range", "bytes "+strconv.FormatInt(part.first, 10)+"-"+strconv.FormatInt(part.first+part.length-1, 10)+"/"+strconv.FormatInt(o.Size, 10))
	section := sectionOf{io.NewSectionReader(f, part.first, part.length), f}
	return &reply{status: http.StatusPartialContent, header: h, stream: section, length: part.length}, nil
}

// acceptsGzip reads Accept-Encoding as far as it matters here: a mention of
// gzip, or of everything, that is not a refusal.
func acceptsGzip(h http.Header) bool {
	for _, coding := range strings.Split(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		name, weight, _ := strings.Cut(strings.ReplaceAll(coding, " ", ""), ";q=")
		if n, err := strconv.ParseFloat(weight, 64); (name == "gzip" || name == "*") && (weight == "" || err == nil && n > 0) {
			return true
		}
	}
	return false
}

type unpacking struct {
	io.Reader
	file io.Closer
}

func (u unpacking) Close() error { return u.file.Close() }

type sectionOf struct {
	io.Reader
	file io.Closer
}

func (s sectionOf) Close() error { return s.file.Close() }
