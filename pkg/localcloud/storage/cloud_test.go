package storage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gcs "cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// cloud is a Server behind a listener, over a folder that outlives it.
type cloud struct {
	t      testing.TB
	dir    string
	clock  time.Time // zero: the real one
	store  *state.Store
	server *Server
	http   *httptest.Server
}

func newCloud(t testing.TB) *cloud {
	t.Helper()
	c := &cloud{t: t, dir: t.TempDir()}
	c.open()
	t.Cleanup(c.close)
	return c
}

func (c *cloud) open() {
	c.t.Helper()
	var err error
	if c.store, err = state.Open(filepath.Join(c.dir, "state.db")); err != nil {
		c.t.Fatal(err)
	}
	opts := Options{Now: func() time.Time {
		if c.clock.IsZero() {
			return time.Now()
		}
		return c.clock
	}}
	if c.server, err = New(c.store, filepath.Join(c.dir, "blobs"), opts); err != nil {
		c.t.Fatal(err)
	}
	c.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.server.ServeHTTP(w, r) }))
}

func (c *cloud) close() {
	c.http.Close()
	c.store.Close()
}

// restart is what a kill and a new start are, apart from the listener's address.
func (c *cloud) restart() {
	c.t.Helper()
	c.close()
	c.open()
}

// client returns Google's client for this server.
func (c *cloud) client(opts ...option.ClientOption) *gcs.Client {
	c.t.Helper()
	opts = append([]option.ClientOption{option.WithEndpoint(c.http.URL + "/storage/v1/"), option.WithoutAuthentication()}, opts...)
	client, err := gcs.NewClient(c.t.Context(), opts...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { client.Close() })
	return client
}

// answer is what came back from a raw request.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a raw request. Headers come as name, value, name, value.
func (c *cloud) do(method, path, body string, header ...string) answer {
	c.t.Helper()
	return c.send(method, c.http.URL+path, strings.NewReader(body), header...)
}

func (c *cloud) send(method, url string, body io.Reader, header ...string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, url, body)
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := noRedirects.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, url, err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

var noRedirects = &http.Client{
	Transport:     &http.Transport{DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// must is do for what a test needs to succeed.
func (c *cloud) must(method, path, body string, header ...string) answer {
	c.t.Helper()
	a := c.do(method, path, body, header...)
	if a.status/100 != 2 {
		c.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return a
}

// bucket makes a bucket with the settings in fields, a JSON object's inside.
func (c *cloud) bucket(name, fields string) {
	c.t.Helper()
	if fields != "" {
		fields = "," + fields
	}
	c.must("POST", "/storage/v1/b?project=p", fmt.Sprintf(`{"name":%q%s}`, name, fields))
}

// put makes an object and returns its generation.
func (c *cloud) put(bucket, name, data string) string {
	c.t.Helper()
	a := c.must("POST", "/upload/storage/v1/b/"+bucket+"/o?uploadType=media&name="+name, data, "Content-Type", "text/plain")
	return a.field(c.t, "generation")
}

func (a answer) field(t testing.TB, name string) string {
	t.Helper()
	var res map[string]any
	if err := json.Unmarshal([]byte(a.body), &res); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	if res[name] == nil {
		return ""
	}
	return fmt.Sprint(res[name])
}

// reason is the machine-readable reason of a refusal.
func (a answer) reason() string {
	var res struct {
		Error struct {
			Code   int
			Errors []struct{ Reason string }
		}
	}
	if json.Unmarshal([]byte(a.body), &res) != nil || len(res.Error.Errors) == 0 || res.Error.Code != a.status {
		return ""
	}
	return res.Error.Errors[0].Reason
}

// snapshot is all that is stored: every record, every file of data. Two equal
// snapshots mean that nothing changed.
func (c *cloud) snapshot() string {
	c.t.Helper()
	var all bytes.Buffer
	err := c.store.View(func(tx *state.Tx) error {
		for _, kind := range []string{bucketKind, objectKind, blobKind, uploadKind, clockKind} {
			err := tx.Scan(kind, "", func(key string, v []byte) error {
				fmt.Fprintf(&all, "%s %q %s\n", kind, key, v)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	err = filepath.WalkDir(filepath.Join(c.dir, "blobs"), func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			info, err := e.Info()
			if err != nil {
				return err
			}
			fmt.Fprintf(&all, "%s %d\n", path, info.Size())
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return all.String()
}

// newFront puts handler behind a listener of its own and returns its address.
func newFront(t testing.TB, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func withEndpoint(url string) option.ClientOption { return option.WithEndpoint(url + "/storage/v1/") }
