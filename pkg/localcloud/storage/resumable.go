package storage

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"
)

// uploadLife is how long an upload may take, and how long after it ended its
// last chunk may be repeated.
const uploadLife = 7 * 24 * time.Hour

// upload is a resumable upload. Its data lies in a file with its id for a name.
type upload struct {
	ID       string        `json:"id"`
	Object   newObject     `json:"object"`
	Declared sums          `json:"declared"`
	Expected int64         `json:"expected"` // X-Upload-Content-Length, -1: not told
	Stored   int64         `json:"stored"`   // bytes that are on the disk
	Total    int64         `json:"total"`    // -1: no chunk told it yet
	Created  time.Time     `json:"created"`
	Done     *objectRecord `json:"done,omitempty"` // what became of it
}

// startUpload judges what can be judged before the data is there.
func (s *Server) startUpload(c *call) (*reply, error) {
	sent, err := readJSON(c.Body)
	if err != nil {
		return nil, err
	}
	if v := c.Header.Get("X-Upload-Content-Type"); v != "" && sent["contentType"] == nil {
		sent["contentType"] = v
	}
	n, declared, err := c.newObject(sent)
	if err != nil {
		return nil, err
	}
	n.Conditions.Reading = false
	u := &upload{Object: n, Declared: declared, Expected: -1, Total: -1}
	if v := c.Header.Get("X-Upload-Content-Length"); v != "" {
		if u.Expected, err = strconv.ParseInt(v, 10, 64); err != nil || u.Expected < 0 {
			return nil, badRequest("invalid", "X-Upload-Content-Length is %q, not a length", v)
		}
	}
	if err := s.expireUploads(); err != nil {
		return nil, err
	}
	var id [24]byte
	rand.Read(id[:]) // it never fails
	u.ID = hex.EncodeToString(id[:])
	err = s.update(nil, func(tx *txn) error {
		b, err := tx.bucket(n.Bucket)
		if err != nil {
			return err
		}
		if err := tx.mayInsert(b, n); err != nil {
			return err
		}
		u.Created = tx.now
		return tx.write(uploadKind, u.ID, u)
	})
	if err != nil {
		return nil, err
	}
	query := url.Values{"uploadType": {"resumable"}, "name": {n.Name}, "upload_id": {u.ID}}
	return &reply{status: http.StatusOK, header: http.Header{
		"Location":             {"http://" + c.Host + "/upload/storage/v1/b/" + n.Bucket + "/o?" + query.Encode()},
		"X-Guploader-Uploadid": {u.ID},
	}}, nil
}

// continueUpload takes a chunk, or a question how far the upload is. Chunks of
// one upload wait for each other.
func (s *Server) continueUpload(c *call) (*reply, error) {
	defer s.uploads.lock(c.params.Get("upload_id"))()
	u, err := s.findUpload(c)
	if err != nil {
		return nil, err
	}
	if u.Done != nil {
		return s.finished(c, u), nil // the answer got lost, and the client asks again
	}
	part, err := parseChunk(c.Header.Get("Content-Range"), c.ContentLength)
	if err != nil {
		return nil, err
	}
	declared, err := declaredSums(nil, c.Header)
	if err != nil {
		return nil, err
	}
	if declared, err = u.Declared.and(declared); err != nil {
		return nil, err
	}
	if err := u.accepts(part); err != nil {
		return nil, err
	}
	if !part.asksStatus {
		if part.first+part.length != part.total {
			u.Declared = declared // remembered with the chunk; the last one's may still be corrected
		}
		if err := s.storeChunk(u, part, c.Body); err != nil {
			return nil, err
		}
	} else if part.total >= 0 && part.total == u.Stored {
		u.Total = part.total
	}
	if u.Total < 0 || u.Stored != u.Total {
		return incomplete(c, u), nil
	}
	return s.finishUpload(c, u, declared)
}

func (s *Server) findUpload(c *call) (*upload, error) {
	u := &upload{}
	var found bool
	err := s.view(func(tx *txn) (err error) {
		found, err = tx.read(uploadKind, c.params.Get("upload_id"), u)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !found || u.Object.Bucket != c.bucket || s.now().Sub(u.Created) > uploadLife {
		return nil, noUpload(c.bucket)
	}
	return u, nil
}

func noUpload(bucket string) *refusal {
	return refuse(http.StatusNotFound, "notFound", "no such upload in bucket %s", bucket)
}

// keepUpload stores how far u is, unless it ended meanwhile: its bucket may have
// been deleted, or its time have come.
func (tx *txn) keepUpload(u *upload) error {
	if tx.Get(uploadKind, u.ID) == nil {
		return noUpload(u.Object.Bucket)
	}
	return tx.write(uploadKind, u.ID, u)
}

// accepts says whether part fits to what is known of the upload.
func (u *upload) accepts(part chunk) error {
	end := part.first + max(part.length, 0)
	switch {
	case part.first > u.Stored:
		return badRequest("invalid", "the chunk begins at byte %d, and only %d are stored", part.first, u.Stored)
	case part.total >= 0 && u.Total >= 0 && part.total != u.Total:
		return badRequest("invalid", "the upload was to have %d bytes, and now it is to have %d", u.Total, part.total)
	case part.total >= 0 && u.Expected >= 0 && part.total != u.Expected:
		return badRequest("invalid", "the upload was announced with %d bytes, and now it is to have %d", u.Expected, part.total)
	case !part.asksStatus && part.total >= 0 && part.total < u.Stored:
		return badRequest("invalid", "the upload is to have %d bytes, and %d are stored", part.total, u.Stored)
	case u.Expected >= 0 && end > u.Expected, u.Total >= 0 && end > u.Total:
		return badRequest("invalid", "the chunk ends at byte %d, behind the end of the upload", end)
	}
	return nil
}

// storeChunk adds to the file what of part is new and remembers it once it is
// on the disk. Of a body that breaks off, whole units are kept.
func (s *Server) storeChunk(u *upload, part chunk, body io.Reader) error {
	f, err := os.OpenFile(s.blobs.part(u.ID), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	from := &sender{Reader: body}
	known := u.Stored - part.first
	if part.length >= 0 {
		known = min(known, part.length)
	}
	if _, err := io.CopyN(io.Discard, from, known); err != nil {
		return badRequest("invalid", "the chunk ended too early")
	}
	if _, err := f.Seek(u.Stored, io.SeekStart); err != nil {
		return err
	}
	left := io.Reader(from)
	if part.length >= 0 {
		left = io.LimitReader(from, part.length-known)
	}
	n, err := io.Copy(f, left)
	if err != nil && from.failed == nil {
		return err
	}
	complete := from.failed == nil && (part.length < 0 || n == part.length-known)
	if complete {
		if extra, _ := io.CopyN(io.Discard, from, 1); extra > 0 {
			return badRequest("invalid", "the chunk is longer than it says")
		}
	}
	storedBefore, totalBefore := u.Stored, u.Total
	u.Stored += n
	switch {
	case !complete:
		u.Stored = max(storedBefore, u.Stored/chunkUnit*chunkUnit)
	case part.length < 0:
		u.Total = u.Stored
	case part.total >= 0:
		u.Total = part.total
	}
	if u.Stored != storedBefore || u.Total != totalBefore {
		if err := f.Sync(); err != nil {
			return err
		}
		if err := s.blobs.syncParts(); err != nil {
			return err
		}
		if err := s.update(nil, func(tx *txn) error { return tx.keepUpload(u) }); err != nil {
			return err
		}
	}
	if !complete {
		return badRequest("invalid", "the chunk ended too early; %d bytes are stored", u.Stored)
	}
	return nil
}

// incomplete tells how far the upload is. Google's clients ask for another
// status than 308, which since means something else.
func incomplete(c *call, u *upload) *reply {
	h := http.Header{"X-Guploader-Uploadid": {u.ID}}
	if u.Stored > 0 {
		h.Set("Range", fmt.Sprintf("bytes=0-%d", u.Stored-1))
	}
	if c.Header.Get("X-GUploader-No-308") == "yes" {
		h.Set("X-Http-Status-Code-Override", "308")
		return &reply{status: http.StatusOK, header: h}
	}
	return &reply{status: http.StatusPermanentRedirect, header: h}
}

// finishUpload makes the object. If it is refused the upload stays as it is: a
// client that did not hear the refusal will hear it again.
func (s *Server) finishUpload(c *call, u *upload, declared sums) (*reply, error) {
	if u.Total == 0 { // no chunk made the file
		f, err := os.OpenFile(s.blobs.part(u.ID), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	if err := os.Truncate(s.blobs.part(u.ID), u.Total); err != nil {
		return nil, err // what a broken chunk left behind the end would become part of the object
	}
	d, err := s.blobs.seal(u.ID, u.Total)
	if err != nil {
		return nil, err
	}
	defer d.discard()
	if err := declared.verify(d.sums); err != nil {
		return nil, err
	}
	err = s.update(d, func(tx *txn) error {
		if u.Done, err = tx.insert(u.Object, d.content()); err != nil {
			return err
		}
		return tx.keepUpload(u)
	})
	if err != nil {
		return nil, err
	}
	s.blobs.removeParts([]string{u.ID})
	return s.finished(c, u), nil
}

func (s *Server) finished(c *call, u *upload) *reply {
	return &reply{status: http.StatusOK, body: s.objectResource(c.Request, u.Done)}
}

// cancelUpload answers with Google's own status for an upload that its client ended.
func (s *Server) cancelUpload(c *call) (*reply, error) {
	defer s.uploads.lock(c.params.Get("upload_id"))()
	u, err := s.findUpload(c)
	if err != nil {
		return nil, err
	}
	err = s.update(nil, func(tx *txn) error { return tx.Delete(uploadKind, u.ID) })
	if err != nil {
		return nil, err
	}
	s.blobs.removeParts([]string{u.ID})
	return &reply{status: 499}, nil
}

// expireUploads forgets the uploads that nobody finished in time.
func (s *Server) expireUploads() error {
	var gone []string
	isOld := func(u *upload) bool { return s.now().Sub(u.Created) > uploadLife }
	found := false
	err := s.view(func(tx *txn) error {
		return tx.eachUpload(func(u *upload) error { found = found || isOld(u); return nil })
	})
	if err != nil || !found {
		return err
	}
	err = s.update(nil, func(tx *txn) (err error) {
		gone, err = tx.dropUploads(isOld)
		return err
	})
	if err == nil {
		s.blobs.removeParts(gone)
	}
	return err
}

func (tx *txn) eachUpload(fn func(*upload) error) error {
	return tx.Scan(uploadKind, "", func(id string, text []byte) error {
		u := &upload{}
		if err := decode(text, u); err != nil {
			return fmt.Errorf("read upload %s: %w", id, err)
		}
		return fn(u)
	})
}

// dropUploads forgets the uploads that end, and answers whose files may go.
func (tx *txn) dropUploads(ends func(*upload) bool) (ids []string, err error) {
	err = tx.eachUpload(func(u *upload) error {
		if !ends(u) {
			return nil
		}
		ids = append(ids, u.ID)
		return tx.Delete(uploadKind, u.ID)
	})
	return ids, err
}

// keyLock is a lock for each key.
type keyLock struct {
	mu    sync.Mutex
	locks map[string]*countedLock
}

type countedLock struct {
	sync.Mutex
	users int
}

// lock waits for key and returns what gives it back.
func (k *keyLock) lock(key string) func() {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*countedLock{}
	}
	l := k.locks[key]
	if l == nil {
		l = &countedLock{}
		k.locks[key] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, key)
		}
	}
}
