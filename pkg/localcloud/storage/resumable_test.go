package storage

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gcs "cloud.google.com/go/storage"
)

// session is a resumable upload, seen from its client.
type session struct {
	c    *cloud
	path string // without host: a restart gives the server another port
}

// start begins an upload of "o" in "models".
func (c *cloud) start(resource, query string, header ...string) session {
	c.t.Helper()
	a := c.must("POST", objectUp+"resumable"+query, resource, header...)
	path, ok := strings.CutPrefix(a.header.Get("Location"), c.http.URL)
	if !ok {
		c.t.Fatalf("the upload's address is %q, not at %s", a.header.Get("Location"), c.http.URL)
	}
	return session{c, path}
}

func (s session) put(contentRange string, body []byte, header ...string) answer {
	s.c.t.Helper()
	return s.c.send("PUT", s.c.http.URL+s.path, bytes.NewReader(body), append(header, "Content-Range", contentRange)...)
}

// want checks an answer's status and how far the upload is; -1 for one that is over.
func (a answer) want(t *testing.T, what string, status int, stored int64) {
	t.Helper()
	want := ""
	if stored > 0 {
		want = fmt.Sprintf("bytes=0-%d", stored-1)
	}
	if got := a.header.Get("Range"); a.status != status || stored >= 0 && got != want {
		t.Errorf("%s: got %d, Range %q, %s; want %d, %q", what, a.status, got, a.body, status, want)
	}
}

func newUploadCloud(t *testing.T) (*cloud, []byte) {
	t.Helper()
	c := newCloud(t)
	c.bucket("models", "")
	return c, bytesOf(2*chunkUnit+1000, 11)
}

const total = 2*chunkUnit + 1000

func rangeOf(first, last int, total string) string {
	return fmt.Sprintf("bytes %d-%d/%s", first, last, total)
}

func (c *cloud) wantObject(t *testing.T, want []byte) {
	t.Helper()
	if got := c.do("GET", objectPath+"?alt=media", ""); got.status != 200 || got.body != string(want) {
		t.Errorf("the object: %d with %d bytes, want the %d that were sent", got.status, len(got.body), len(want))
	}
}

func TestAnUploadGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	c, data := newUploadCloud(t)
	s := c.start(`{"contentType":"x/y","metadata":{"a":"b"}}`, "", "X-Upload-Content-Length", strconv.Itoa(total))
	s.put("bytes */*", nil).want(t, "status of nothing", 308, 0)
	s.put(rangeOf(0, chunkUnit-1, "*"), data[:chunkUnit]).want(t, "first chunk", 308, chunkUnit)
	c.restart()
	s.put("bytes */"+strconv.Itoa(total), nil).want(t, "status after a restart", 308, chunkUnit)
	s.put(rangeOf(0, chunkUnit-1, "*"), data[:chunkUnit]).want(t, "first chunk again", 308, chunkUnit)
	s.put(rangeOf(0, 2*chunkUnit-1, "*"), data[:2*chunkUnit]).want(t, "first and second chunk", 308, 2*chunkUnit)
	c.restart()
	if got := c.do("GET", objectPath, ""); got.status != 404 {
		t.Errorf("the object is there before its last chunk: %d", got.status)
	}
	last := func() answer { return s.put(rangeOf(2*chunkUnit, total-1, strconv.Itoa(total)), data[2*chunkUnit:]) }
	done := last()
	done.want(t, "last chunk", 200, -1)
	c.wantObject(t, data)
	c.restart()
	for what, again := range map[string]answer{"last chunk again": last(), "status of what is done": s.put("bytes */*", nil)} {
		again.want(t, what, 200, -1)
		if again.field(t, "generation") != done.field(t, "generation") || again.field(t, "contentType") != "x/y" {
			t.Errorf("%s answers %s, want the object %s", what, again.body, done.body)
		}
	}
	parts, err := os.ReadDir(filepath.Join(c.dir, "blobs", "parts"))
	if err != nil || len(parts) != 0 {
		t.Errorf("%d files of uploads are left, %v", len(parts), err)
	}
}

// The client believes that it uploads in one go; the server is another one,
// over the same state, for each of its requests.
func TestClientDoesNotNoticeRestarts(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.bucket("models", "")
	var mu sync.Mutex
	served := 0
	front := newFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		served++
		if served%3 == 0 { // the request does not arrive
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		answer := httptest.NewRecorder()
		c.server.ServeHTTP(answer, r)
		if served%3 == 2 { // it does what it should, and the answer is lost
			c.restart()
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	}))
	client := c.client(withEndpoint(front))
	data := bytesOf(5*chunkUnit+3, 5)
	attrs, err := write(t.Context(), client.Bucket("models").Object("o").If(gcs.Conditions{DoesNotExist: true}), data, smallChunks)
	if err != nil {
		t.Fatal(err)
	}
	if attrs.CRC32C != crcOf(data) || served < 9 {
		t.Errorf("after %d requests: %+v", served, attrs)
	}
	c.wantObject(t, data)
}

func TestAGoogleClientsChunksAreAnsweredAsItWants(t *testing.T) {
	t.Parallel()
	c, data := newUploadCloud(t)
	s := c.start("{}", "")
	post := func(contentRange string, body []byte) answer {
		return c.send("POST", c.http.URL+s.path, bytes.NewReader(body), "Content-Range", contentRange, "X-GUploader-No-308", "yes")
	}
	a := post(rangeOf(0, chunkUnit-1, "*"), data[:chunkUnit])
	a.want(t, "a chunk", 200, chunkUnit)
	if a.header.Get("X-Http-Status-Code-Override") != "308" || a.body != "" {
		t.Errorf("a chunk: %v %q, want the override 308 and no body", a.header, a.body)
	}
	a = post(rangeOf(chunkUnit, total-1, strconv.Itoa(total)), data[chunkUnit:])
	if a.status != 200 || a.header.Get("X-Http-Status-Code-Override") != "" || a.field(t, "size") != strconv.Itoa(total) {
		t.Errorf("the last chunk: %d %v %s", a.status, a.header, a.body)
	}
}

func TestBadChunksChangeNothing(t *testing.T) {
	t.Parallel()
	c, data := newUploadCloud(t)
	c.put("models", "o", "before")
	s := c.start("{}", "", "X-Upload-Content-Length", strconv.Itoa(total))
	s.put(rangeOf(0, chunkUnit-1, "*"), data[:chunkUnit]).want(t, "first chunk", 308, chunkUnit)
	before := c.snapshot()
	for _, r := range []struct {
		what, contentRange string
		body               []byte
	}{
		{"a gap", rangeOf(2*chunkUnit, 3*chunkUnit-1, "*"), data[:chunkUnit]},
		{"no multiple", rangeOf(chunkUnit, chunkUnit+99, "*"), data[:100]},
		{"less than it says", rangeOf(chunkUnit, 2*chunkUnit-1, "*"), data[:100]},
		{"more than it says", rangeOf(chunkUnit, 2*chunkUnit-1, "*"), data[:chunkUnit+1]},
		{"an end before the start", rangeOf(5, 3, "*"), nil},
		{"an end behind the total", rangeOf(0, 99, "50"), data[:100]},
		{"another total than announced", rangeOf(chunkUnit, chunkUnit+99, strconv.Itoa(chunkUnit+100)), data[:100]},
		{"behind what was announced", rangeOf(chunkUnit, 3*chunkUnit-1, "*"), make([]byte, 2*chunkUnit)},
		{"words", "bytes all", data[:100]},
		{"a status question with a body", "bytes */*", data[:100]},
		{"no range from the middle", "", data[:100]},
	} {
		if got := s.put(r.contentRange, r.body); got.status != 400 || got.reason() != "invalid" {
			t.Errorf("%s: got %d %s, want 400", r.what, got.status, got.body)
		}
		if after := c.snapshot(); after != before {
			t.Fatalf("%s changed something", r.what)
		}
	}
	for what, path := range map[string]string{"another bucket": strings.Replace(s.path, "/models/", "/other/", 1), "an id that is none": s.path + "0"} {
		if got := c.do("PUT", path, ""); got.status != 404 {
			t.Errorf("%s: got %d, want 404", what, got.status)
		}
	}
	s.put("bytes */*", nil).want(t, "status afterwards", 308, chunkUnit)
}

func TestAChunkThatBreaksOffIsKeptInWholeUnits(t *testing.T) {
	t.Parallel()
	c, data := newUploadCloud(t)
	s := c.start("{}", "")
	served := make(chan struct{})
	front := newFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(served)
		c.server.ServeHTTP(w, r)
	}))
	// The body ends before its declared length: what a broken connection leaves.
	req, err := http.NewRequest("PUT", front+s.path, io.MultiReader(bytes.NewReader(data[:chunkUnit+50_000]), brokenReader{}))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = total
	req.Header.Set("Content-Range", rangeOf(0, total-1, strconv.Itoa(total)))
	if res, err := noRedirects.Do(req); err == nil {
		res.Body.Close()
	}
	<-served
	c.restart()
	s.put("bytes */*", nil).want(t, "status after the break", 308, chunkUnit)
	s.put(rangeOf(chunkUnit, total-1, strconv.Itoa(total)), data[chunkUnit:]).want(t, "the rest", 200, -1)
	c.wantObject(t, data)
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestUploadsOfOddSizesEnd(t *testing.T) {
	t.Parallel()
	c, data := newUploadCloud(t)
	for what, finish := range map[string]func(s session) (answer, []byte){
		"nothing":           func(s session) (answer, []byte) { return s.put("bytes */0", nil), nil },
		"all without range": func(s session) (answer, []byte) { return s.put("", data), data },
		"all at once":       func(s session) (answer, []byte) { return s.put(rangeOf(0, total-1, strconv.Itoa(total)), data), data },
		"an empty last chunk": func(s session) (answer, []byte) {
			s.put(rangeOf(0, chunkUnit-1, "*"), data[:chunkUnit])
			return s.put("bytes */"+strconv.Itoa(chunkUnit), nil), data[:chunkUnit]
		},
		"all of unknown length": func(s session) (answer, []byte) {
			return c.send("PUT", c.http.URL+s.path, io.MultiReader(bytes.NewReader(data))), data
		},
	} {
		got, want := finish(c.start("{}", ""))
		got.want(t, what, 200, -1)
		c.wantObject(t, want)
	}
}

func base64CRC(data []byte) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crcOf(data)))
}

func TestDeclaredChecksumsAreRememberedOverAllChunks(t *testing.T) {
	t.Parallel()
	c, data := newUploadCloud(t)
	generation := c.put("models", "o", "before")
	right := base64CRC(data)
	for _, r := range []struct {
		what, resource string
		header         []string
		status         int
	}{
		{"crc32c from the start", `{"crc32c":"AAAAAA=="}`, nil, 400},
		{"md5 from the start", `{"md5Hash":"jXd/OF09/siBXSD3SWAm3A=="}`, nil, 400},
		{"crc32c on the last chunk", `{}`, []string{"X-Goog-Hash", "crc32c=AAAAAA=="}, 400},
		{"crc32c on the first chunk", `{}`, []string{"first", "crc32c=AAAAAA=="}, 400},
		{"two that differ", `{"crc32c":"` + right + `"}`, []string{"X-Goog-Hash", "crc32c=AAAAAA=="}, 400},
		{"the right one twice", `{"crc32c":"` + right + `"}`, []string{"X-Goog-Hash", "crc32c=" + right}, 200},
	} {
		s := c.start(r.resource, "")
		var first []string
		if len(r.header) > 0 && r.header[0] == "first" {
			first, r.header = []string{"X-Goog-Hash", r.header[1]}, nil
		}
		s.put(rangeOf(0, chunkUnit-1, "*"), data[:chunkUnit], first...).want(t, r.what, 308, chunkUnit)
		c.restart()
		s.put(rangeOf(chunkUnit, total-1, strconv.Itoa(total)), data[chunkUnit:], r.header...).want(t, r.what, r.status, -1)
		if got := c.must("GET", objectPath, "").field(t, "generation"); (got == generation) != (r.status == 400) {
			t.Errorf("%s: the object has generation %s, before %s", r.what, got, generation)
		}
	}
}

func TestConditionsAreJudgedAtTheStartAndAtTheEnd(t *testing.T) {
	t.Parallel()
	c, data := newUploadCloud(t)
	g := c.put("models", "o", "before")
	if got := c.do("POST", objectUp+"resumable&ifGenerationMatch=0", "{}"); got.status != 412 {
		t.Errorf("start over an object: got %d, want 412", got.status)
	}
	s := c.start("{}", "&ifGenerationMatch="+g)
	s.put(rangeOf(0, chunkUnit-1, "*"), data[:chunkUnit]).want(t, "first chunk", 308, chunkUnit)
	winner := c.put("models", "o", "somebody else's")
	c.restart()
	for range 2 { // who did not hear the refusal hears it again
		got := s.put(rangeOf(chunkUnit, total-1, strconv.Itoa(total)), data[chunkUnit:])
		if got.status != 412 || got.reason() != "conditionNotMet" {
			t.Errorf("the last chunk after somebody else wrote: got %d %s, want 412", got.status, got.body)
		}
	}
	if got := c.must("GET", objectPath, "").field(t, "generation"); got != winner {
		t.Errorf("the object has generation %s, want the winner's %s", got, winner)
	}
	held := c.start("{}", "")
	c.must("PATCH", objectPath, `{"temporaryHold":true}`)
	held.put(rangeOf(0, total-1, strconv.Itoa(total)), data).want(t, "the last chunk after a hold was set", 403, -1)
	c.wantObject(t, []byte("somebody else's"))
}

func TestUploadsEnd(t *testing.T) {
	t.Parallel()
	c, data := newUploadCloud(t)
	files := func() int {
		parts, err := os.ReadDir(filepath.Join(c.dir, "blobs", "parts"))
		if err != nil {
			t.Fatal(err)
		}
		return len(parts)
	}
	cancelled := c.start("{}", "")
	cancelled.put(rangeOf(0, chunkUnit-1, "*"), data[:chunkUnit])
	if got := c.do("DELETE", cancelled.path, ""); got.status != 499 {
		t.Errorf("cancel: got %d, want 499", got.status)
	}
	cancelled.put("bytes */*", nil).want(t, "status of a cancelled upload", 404, -1)
	if n := files(); n != 0 {
		t.Errorf("%d files are left of a cancelled upload", n)
	}

	old := c.start("{}", "")
	old.put(rangeOf(0, chunkUnit-1, "*"), data[:chunkUnit])
	c.clock = time.Now().Add(6 * 24 * time.Hour)
	old.put("bytes */*", nil).want(t, "status after six days", 308, chunkUnit)
	c.clock = time.Now().Add(8 * 24 * time.Hour)
	old.put("bytes */*", nil).want(t, "status after eight days", 404, -1)
	c.start("{}", "")
	if n := files(); n != 0 {
		t.Errorf("%d files are left of an old upload", n)
	}

	orphan := c.start("{}", "")
	orphan.put(rangeOf(0, chunkUnit-1, "*"), data[:chunkUnit])
	c.must("DELETE", "/storage/v1/b/models", "")
	c.bucket("models", "")
	orphan.put("bytes */*", nil).want(t, "status after the bucket was deleted", 404, -1)
	if n := files(); n != 0 {
		t.Errorf("%d files are left of a deleted bucket's upload", n)
	}
}
