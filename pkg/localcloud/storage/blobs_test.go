package storage

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gcs "cloud.google.com/go/storage"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"

	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// childDir names the folder that this binary serves when it is started as the
// child of a test.
const childDir = "STORAGE_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, serveFolder(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// serveFolder replaces an object for ever and prints each generation's number
// and content once it is told that it is stored.
func serveFolder(dir string) error {
	store, err := state.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		return err
	}
	server, err := New(store, filepath.Join(dir, "blobs"), Options{})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		var o *objectRecord
		d, err := server.blobs.receive(strings.NewReader(fmt.Sprintf("content %d", i)))
		if err != nil {
			return err
		}
		err = server.update(d, func(tx *txn) error {
			if i == 0 {
				if _, err := tx.insertBucket("models", "p", nil); err != nil {
					return err
				}
			}
			o, err = tx.insert(newObject{Bucket: "models", Name: "o"}, d.content())
			return err
		})
		if err != nil {
			return err
		}
		fmt.Println(o.Generation, i)
	}
}

func (c *cloud) blobs() []string {
	c.t.Helper()
	entries, err := os.ReadDir(filepath.Join(c.dir, "blobs", "sha256"))
	if err != nil {
		c.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestAKillLeavesAWholeObject(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var generation int64
	number := -1
	for number < 20 {
		if _, err := fmt.Fscanln(out, &generation, &number); err != nil {
			t.Fatal(err)
		}
	}
	child.Process.Kill()
	child.Wait() // it was killed, which is an error

	c := &cloud{t: t, dir: dir}
	c.open()
	t.Cleanup(c.close)
	got := c.must("GET", objectPath+"?alt=media", "")
	n, err := strconv.Atoi(strings.TrimPrefix(got.body, "content "))
	if err != nil || n < number {
		t.Errorf("the object is %q, want a content from %d on", got.body, number)
	}
	if g, _ := strconv.ParseInt(got.header.Get("X-Goog-Generation"), 10, 64); g < generation {
		t.Errorf("the generation is %d, and %d was acknowledged", g, generation)
	}
	if names := c.blobs(); len(names) != 1 {
		t.Errorf("%d files of data are there after the sweep, want 1", len(names))
	}
	parts, _ := os.ReadDir(filepath.Join(dir, "blobs", "parts"))
	if len(parts) != 0 {
		t.Errorf("%d unfinished files are left after the sweep", len(parts))
	}
}

func TestDataIsKeptOnceAndAsLongAsSomethingRefersToIt(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.bucket("models", "")
	c.bucket("versioned", `"versioning":{"enabled":true}`)
	sum := sha256.Sum256([]byte("same"))
	c.put("models", "a", "same")
	c.put("models", "b", "same")
	c.must("POST", "/storage/v1/b/models/o/a/copyTo/b/versioned/o/c", "")
	if got := c.blobs(); !cmp.Equal(got, []string{hex.EncodeToString(sum[:])}) {
		t.Errorf("three objects of the same data have the files %v, want one named by its SHA-256", got)
	}
	c.must("DELETE", "/storage/v1/b/models/o/a", "")
	c.put("models", "b", "other")
	if got := c.must("GET", "/storage/v1/b/versioned/o/c?alt=media", ""); got.body != "same" {
		t.Errorf("the copy is %q after its sources went", got.body)
	}
	c.must("DELETE", "/storage/v1/b/versioned/o/c", "")
	if got := c.blobs(); len(got) != 2 {
		t.Errorf("%d files, want 2: a noncurrent generation keeps its data", len(got))
	}
	generation := c.must("GET", "/storage/v1/b/versioned/o?versions=true", "")
	_, rest, _ := strings.Cut(generation.body, `"generation": "`)
	g, _, _ := strings.Cut(rest, `"`)
	c.must("DELETE", "/storage/v1/b/versioned/o/c?generation="+g, "")
	if got := c.blobs(); len(got) != 1 {
		t.Errorf("%d files, want only that of the object that is left", len(got))
	}
	c.put("models", "b", "other") // replaced by what it is
	if got := c.must("GET", "/storage/v1/b/models/o/b?alt=media", ""); got.body != "other" {
		t.Errorf("an object replaced by the same data is %q", got.body)
	}
}

func TestAReaderFinishesWhatItBegan(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	b := c.client(gcs.WithJSONReads()).Bucket("models")
	if err := b.Create(t.Context(), "p", nil); err != nil {
		t.Fatal(err)
	}
	data := bytesOf(20<<20, 9) // more than the connection's buffers hold
	o := b.Object("o")
	if _, err := write(t.Context(), o, data, nil); err != nil {
		t.Fatal(err)
	}
	r, err := o.NewReader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := o.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names := c.blobs(); len(names) != 0 {
		t.Errorf("the data of a deleted object is still there: %v", names)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v; want all %d", len(got), err, len(data))
	}
}

func TestGenerationsGrowWhateverTheClockDoes(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.bucket("models", "")
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var last int64
	for _, at := range []time.Time{noon, noon, noon.Add(-time.Hour), noon.Add(time.Microsecond), noon.Add(time.Hour)} {
		c.clock = at
		c.restart()
		g, err := strconv.ParseInt(c.put("models", "o", "x"), 10, 64)
		if err != nil || g <= last {
			t.Errorf("at %v generation %d, %v; want more than %d", at, g, err, last)
		}
		last = g
	}
}

func TestManyWritersAndReadersSeeWholeObjects(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.bucket("models", "")
	c.put("models", "o", strings.Repeat("0", 5000))
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 10 {
				c.do("POST", objectUp+"media", strings.Repeat(strconv.Itoa(i), 5000))
				c.do("POST", "/storage/v1/b/models/o/o/copyTo/b/models/o/copy", "")
				c.do("DELETE", "/storage/v1/b/models/o/copy", "")
			}
		})
		all.Go(func() {
			for range 20 {
				got := c.do("GET", objectPath+"?alt=media", "")
				if got.status != 200 || got.body != strings.Repeat(got.body[:1], 5000) {
					t.Errorf("read %d, %d bytes", got.status, len(got.body))
					return
				}
			}
		})
		all.Go(func() {
			for range 5 {
				got := c.do("POST", "/storage/v1/b/models/o/joined/compose", `{"sourceObjects":[{"name":"o"},{"name":"o"}]}`)
				if got.status != 200 || got.field(t, "size") != "10000" {
					t.Errorf("compose: %d %s", got.status, got.body)
				}
			}
		})
	}
	all.Wait()
	c.must("DELETE", "/storage/v1/b/models/o/joined", "")
	c.do("DELETE", "/storage/v1/b/models/o/copy", "")
	if names := c.blobs(); len(names) != 1 {
		t.Errorf("%d files of data for one object", len(names))
	}
}

func TestCopyPrefixKeepsAFolderAsItWas(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.bucket("models", `"location":"europe-west1"`)
	for _, name := range []string{"v1/model.onnx", "v1/a/schema.json", "v10/other", "v1"} {
		c.put("models", strings.ReplaceAll(name, "/", "%2F"), "data of "+name)
	}
	c.must("PATCH", "/storage/v1/b/models/o/v1%2Fmodel.onnx", `{"temporaryHold":true,"metadata":{"a":"b"}}`)
	n, err := c.server.CopyPrefix(t.Context(), "models", "v1", "vertex-copies", "123/1")
	if err != nil || n != 2 {
		t.Fatalf("copied %d, %v; want 2", n, err)
	}
	c.put("models", "v1%2Fa%2Fschema.json", "changed")
	for name, want := range map[string]string{"123/1/model.onnx": "data of v1/model.onnx", "123/1/a/schema.json": "data of v1/a/schema.json"} {
		if got := c.must("GET", "/vertex-copies/"+name, ""); got.body != want {
			t.Errorf("%s is %q, want %q", name, got.body, want)
		}
	}
	got := c.must("GET", "/storage/v1/b/vertex-copies/o/123%2F1%2Fmodel.onnx", "")
	if !strings.Contains(got.body, `"a": "b"`) || got.field(t, "temporaryHold") != "" {
		t.Errorf("the copy's settings are %s; want the metadata without the hold", got.body)
	}
	if got := c.must("GET", "/storage/v1/b/vertex-copies", "").field(t, "location"); got != "EUROPE-WEST1" {
		t.Errorf("the copy lies in %s", got)
	}
	if n, err := c.server.CopyPrefix(t.Context(), "models", "none/", "vertex-copies", "2"); n != 0 || err != nil {
		t.Errorf("a folder without objects: %d, %v", n, err)
	}
	before := c.snapshot()
	var no *refusal
	if _, err := c.server.CopyPrefix(t.Context(), "nowhere", "", "vertex-copies", ""); !errors.As(err, &no) || no.code != http.StatusNotFound {
		t.Errorf("from no bucket: %v, want a 404", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.server.CopyPrefix(gone, "models", "v1", "another", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("for nobody: %v, want %v", err, context.Canceled)
	}
	if c.snapshot() != before {
		t.Error("copies that failed changed something")
	}
}

func TestARewriteCanTakeSteps(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.bucket("models", "")
	c.put("models", "o", strings.Repeat("x", 5<<19)) // 2.5 MiB
	path := "/storage/v1/b/models/o/o/rewriteTo/b/models/o/copy?maxBytesRewrittenPerCall=1048576"
	next, steps := "", 1
	for ; ; steps++ {
		a := c.must("POST", path+next, "")
		if a.field(t, "done") == "true" {
			break
		}
		if c.do("GET", "/storage/v1/b/models/o/copy", "").status != 404 {
			t.Error("the copy is there before the rewrite is done")
		}
		next = "&rewriteToken=" + a.field(t, "rewriteToken")
		c.restart()
	}
	if steps != 3 {
		t.Errorf("it took %d steps, want 3", steps)
	}
	for what, query := range map[string]string{"a token of another rewrite": next, "no token": "&rewriteToken=x"} {
		other := strings.Replace(path, "/o/copy", "/o/other", 1)
		if a := c.do("POST", other+query, ""); a.status != 400 {
			t.Errorf("%s: got %d, want 400", what, a.status)
		}
	}
	c.put("models", "o", strings.Repeat("y", 5<<19))
	if a := c.do("POST", path+next, ""); a.status != 400 {
		t.Errorf("a token of an older generation: got %d, want 400", a.status)
	}
}

func TestComposeCanCleanUp(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.bucket("models", "")
	c.put("models", "a", "1")
	c.put("models", "b", "2")
	c.must("POST", "/storage/v1/b/models/o/a/compose", `{"sourceObjects":[{"name":"a"},{"name":"b"}],"deleteSourceObjects":true,"destination":{"contentType":"x/y"}}`)
	if got := c.must("GET", "/models/a", ""); got.body != "12" || got.header.Get("Content-Type") != "x/y" || got.header.Get("X-Goog-Hash") != "crc32c="+base64CRC([]byte("12")) {
		t.Errorf("composed %q %v", got.body, got.header)
	}
	if got := c.do("GET", "/models/b", ""); got.status != 404 {
		t.Errorf("the source is still there: %d", got.status)
	}
}

func TestCompressedDataIsUnpackedForWhoDoesNotAcceptIt(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.bucket("models", "")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	io.WriteString(z, "unpacked data")
	z.Close()
	c.must("POST", objectUp+"media&contentEncoding=gzip", packed.String(), "Content-Type", "text/plain")
	for _, path := range []string{objectPath + "?alt=media", "/models/o"} {
		plain := c.must("GET", path, "")
		if plain.body != "unpacked data" || plain.header.Get("Content-Encoding") != "" || plain.header.Get("X-Goog-Stored-Content-Encoding") != "gzip" {
			t.Errorf("%s unpacked: %q %v", path, plain.body, plain.header)
		}
		asIs := c.must("GET", path, "", "Accept-Encoding", "gzip")
		if asIs.body != packed.String() || asIs.header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s as it is: %d bytes %v", path, len(asIs.body), asIs.header)
		}
	}
	c.must("POST", "/upload/storage/v1/b/models/o?name=liar&uploadType=media&contentEncoding=gzip", "no gzip at all")
	if got := c.must("GET", "/models/liar", ""); got.body != "no gzip at all" {
		t.Errorf("what only claims to be gzip: %q", got.body)
	}
	for _, opts := range [][]option.ClientOption{nil, {gcs.WithJSONReads()}} {
		got, err := read(t.Context(), c.client(opts...).Bucket("models").Object("o"))
		if err != nil || string(got) != "unpacked data" {
			t.Errorf("the client read %q, %v", got, err)
		}
	}
	// Its JSON reads refuse to ask for that.
	got, err := read(t.Context(), c.client().Bucket("models").Object("o").ReadCompressed(true))
	if err != nil || string(got) != packed.String() {
		t.Errorf("the client read %d bytes as they are, %v; want %d", len(got), err, packed.Len())
	}
}

// A client that sends more than a connection holds must still hear the answer.
func TestWhoIsStillSendingHearsTheAnswer(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.bucket("models", "")
	big := strings.Repeat("x", 20<<20)
	if got := c.do("POST", "/upload/storage/v1/b/nowhere/o?uploadType=media&name=o", big); got.status != 404 {
		t.Errorf("to no bucket: got %d, want 404", got.status)
	}
	if got := c.do("POST", objectUp+"bundle", big); got.status != 400 {
		t.Errorf("of no known type: got %d, want 400", got.status)
	}
	s := c.start("{}", "")
	for range 2 {
		s.put(rangeOf(0, len(big)-1, strconv.Itoa(len(big))), []byte(big)).want(t, "all at once, and again", 200, -1)
	}
}

func TestAnUpdateReplacesAllSettings(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.bucket("models", `"labels":{"a":"b"},"iamConfiguration":{"bucketPolicyOnly":{"enabled":true}}`)
	if got := c.must("GET", "/storage/v1/b/models", "").body; strings.Count(got, `"enabled": true`) != 2 {
		t.Errorf("uniform access by its former name: %s", got)
	}
	c.must("PUT", "/storage/v1/b/models", `{"versioning":{"enabled":true}}`)
	got := c.must("GET", "/storage/v1/b/models", "")
	if got.field(t, "labels") != "" || got.field(t, "metageneration") != "2" || !strings.Contains(got.field(t, "versioning"), "true") {
		t.Errorf("the bucket after an update: %s", got.body)
	}
	c.put("models", "o", "x")
	c.must("PATCH", objectPath, `{"metadata":{"a":"b"},"cacheControl":"no-store"}`)
	c.must("PUT", objectPath, `{"contentLanguage":"de"}`)
	got = c.must("GET", objectPath, "")
	if got.field(t, "metadata")+got.field(t, "cacheControl")+got.field(t, "contentType") != "" || got.field(t, "contentLanguage") != "de" ||
		got.field(t, "metageneration") != "3" || got.field(t, "storageClass") != "STANDARD" {
		t.Errorf("the object after an update: %s", got.body)
	}
}
