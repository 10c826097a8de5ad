package storage

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// refused is a request that must be refused, and change nothing.
type refused struct {
	what         string
	method, path string
	body         string
	header       []string
	status       int
	reason       string // "" where the answer has no JSON body
}

// stage makes a bucket with what the refusals need:
//
//	o        generation {G}, metageneration 2, after generation {OLD}
//	source   generation {S}
//	held     under a temporary hold; kept under an event-based hold
//	missing  not there
func stage(t *testing.T) (*cloud, *strings.Replacer) {
	t.Helper()
	c := newCloud(t)
	c.bucket("models", "")
	old := c.put("models", "o", "old")
	g := c.put("models", "o", "data")
	c.must("PATCH", "/storage/v1/b/models/o/o", `{"metadata":{"a":"1"}}`)
	source := c.put("models", "source", "source")
	for name, hold := range map[string]string{"held": "temporaryHold", "kept": "eventBasedHold"} {
		c.put("models", name, "held")
		c.must("PATCH", "/storage/v1/b/models/o/"+name, `{"`+hold+`":true}`)
	}
	c.bucket("retained", `"retentionPolicy":{"retentionPeriod":"3600"}`)
	c.put("retained", "o", "data")
	etag := c.must("GET", "/storage/v1/b/models/o/o", "").field(t, "etag")
	return c, strings.NewReplacer("{G}", g, "{OLD}", old, "{S}", source, "{ETAG}", etag)
}

func (c *cloud) refuses(t *testing.T, with *strings.Replacer, all []refused) {
	t.Helper()
	before := c.snapshot()
	for _, r := range all {
		var header []string
		for _, h := range r.header {
			header = append(header, with.Replace(h))
		}
		got := c.do(r.method, with.Replace(r.path), with.Replace(r.body), header...)
		if got.status != r.status || r.reason != "" && got.reason() != r.reason {
			t.Errorf("%s: %s %s: got %d %s %s; want %d %s", r.what, r.method, with.Replace(r.path), got.status, got.reason(), got.body, r.status, r.reason)
		}
		if got.status == http.StatusNotModified && got.body != "" {
			t.Errorf("%s: a 304 has the body %q", r.what, got.body)
		}
		if after := c.snapshot(); after != before {
			t.Fatalf("%s: %s %s changed something:\n%s", r.what, r.method, r.path, cmp.Diff(before, after))
		}
	}
}

const (
	objectPath = "/storage/v1/b/models/o/o"
	objectUp   = "/upload/storage/v1/b/models/o?name=o&uploadType="
	multiBody  = "--b\r\nContent-Type: application/json\r\n\r\n%s\r\n--b\r\nContent-Type: text/plain\r\n\r\n%s\r\n--b--\r\n"
)

var multi = []string{"Content-Type", "multipart/related; boundary=b"}

// targets are all requests whose target's conditions are judged.
var targets = []refused{
	{what: "attrs", method: "GET", path: objectPath + "?"},
	{what: "attrs by HEAD", method: "HEAD", path: objectPath + "?"},
	{what: "read", method: "GET", path: objectPath + "?alt=media"},
	{what: "download", method: "GET", path: "/download" + objectPath + "?alt=media"},
	{what: "simple upload", method: "POST", path: objectUp + "media", body: "new"},
	{what: "multipart upload", method: "POST", path: objectUp + "multipart", body: fmt.Sprintf(multiBody, "{}", "new"), header: multi},
	{what: "start of a resumable upload", method: "POST", path: objectUp + "resumable", body: "{}"},
	{what: "patch", method: "PATCH", path: objectPath + "?", body: `{"contentType":"a/b"}`},
	{what: "update", method: "PUT", path: objectPath + "?", body: `{"contentType":"a/b"}`},
	{what: "delete", method: "DELETE", path: objectPath + "?"},
	{what: "compose", method: "POST", path: objectPath + "/compose?", body: `{"sourceObjects":[{"name":"source"}]}`},
	{what: "rewrite", method: "POST", path: "/storage/v1/b/models/o/source/rewriteTo/b/models/o/o?"},
	{what: "copy", method: "POST", path: "/storage/v1/b/models/o/source/copyTo/b/models/o/o?"},
}

func TestQueryPreconditionsHoldOnEveryMethod(t *testing.T) {
	t.Parallel()
	c, with := stage(t)
	var all []refused
	for _, target := range targets {
		for _, p := range []struct {
			query  string
			status int
		}{
			{"ifGenerationMatch=0", 412}, {"ifGenerationMatch={OLD}", 412}, {"ifMetagenerationMatch=1", 412}, {"ifMetagenerationMatch=3", 412},
			{"ifGenerationNotMatch={G}", 304}, {"ifMetagenerationNotMatch=2", 304},
			{"ifGenerationMatch={G}&ifMetagenerationMatch=1", 412}, {"ifGenerationMatch=x", 400}, {"ifGenerationMatch=-1", 400}, {"ifGenerationMatch=", 400},
			{"ifGenerationMatch={G}&ifGenerationMatch={OLD}", 400},
		} {
			r := target
			r.what += " with " + p.query
			r.path += "&" + p.query
			r.status = p.status
			if r.status == 412 && r.method != "HEAD" {
				r.reason = "conditionNotMet"
			}
			all = append(all, r)
		}
	}
	for _, bucket := range []refused{
		{what: "bucket attrs", method: "GET"}, {what: "bucket patch", method: "PATCH", body: `{"labels":{"a":"b"}}`},
		{what: "bucket update", method: "PUT", body: `{}`}, {what: "bucket delete", method: "DELETE"},
	} {
		match, not := bucket, bucket
		match.path, match.status, match.reason = "/storage/v1/b/models?ifMetagenerationMatch=7", 412, "conditionNotMet"
		not.path, not.status = "/storage/v1/b/models?ifMetagenerationNotMatch=1", 304
		all = append(all, match, not)
	}
	c.refuses(t, with, all)
}

func TestQueryPreconditionsOverNothing(t *testing.T) {
	t.Parallel()
	c, with := stage(t)
	missing := "/storage/v1/b/models/o/missing"
	c.refuses(t, with, []refused{
		{what: "write over a generation", method: "POST", path: "/upload/storage/v1/b/models/o?name=missing&uploadType=media&ifGenerationMatch={G}", status: 412, reason: "conditionNotMet"},
		{what: "write over a metageneration", method: "POST", path: "/upload/storage/v1/b/models/o?name=missing&uploadType=media&ifMetagenerationMatch=1", status: 412, reason: "conditionNotMet"},
		{what: "write if there is something", method: "POST", path: "/upload/storage/v1/b/models/o?name=missing&uploadType=media&ifGenerationNotMatch=0", status: 304},
		{what: "attrs", method: "GET", path: missing, status: 404, reason: "notFound"},
		{what: "read", method: "GET", path: missing + "?alt=media", status: 404, reason: "notFound"},
		{what: "delete of a generation", method: "DELETE", path: missing + "?ifGenerationMatch={G}", status: 404, reason: "notFound"},
		{what: "attrs of a generation that is gone", method: "GET", path: objectPath + "?generation={OLD}", status: 404, reason: "notFound"},
		{what: "attrs of no generation", method: "GET", path: objectPath + "?generation=x", status: 400, reason: "invalidParameter"},
		{what: "write to no bucket", method: "POST", path: "/upload/storage/v1/b/nowhere/o?name=o&uploadType=media", body: "x", status: 404, reason: "notFound"},
	})
	for query, want := range map[string]int{
		"ifGenerationMatch={G}&ifMetagenerationMatch=2": 200, "ifGenerationNotMatch={OLD}&ifMetagenerationNotMatch=1": 200, "ifGenerationNotMatch=0": 200,
	} {
		if got := c.do("GET", objectPath+"?"+with.Replace(query), ""); got.status != want {
			t.Errorf("attrs with %s: got %d, want %d", query, got.status, want)
		}
	}
}

func TestHeaderPreconditionsHoldOnEveryMethod(t *testing.T) {
	t.Parallel()
	c, with := stage(t)
	var all []refused
	for _, target := range append(targets, refused{what: "XML read", method: "GET", path: "/models/o"}, refused{what: "XML HEAD", method: "HEAD", path: "/models/o"}) {
		notMatch := 412
		if target.method == "GET" || target.method == "HEAD" {
			notMatch = 304
		}
		for _, p := range []struct {
			name, value string
			status      int
		}{
			{"x-goog-if-generation-match", "{OLD}", 412}, {"x-goog-if-generation-match", "0", 412}, {"x-goog-if-metageneration-match", "1", 412},
			{"x-goog-if-generation-match", "x", 400}, {"If-Match", `"other"`, 412}, {"If-None-Match", `"other", "{ETAG}"`, notMatch}, {"If-None-Match", "*", notMatch},
		} {
			r := target
			r.what += " with " + p.name + ": " + p.value
			r.header = append([]string{p.name, p.value}, target.header...)
			r.status = p.status
			all = append(all, r)
		}
	}
	c.refuses(t, with, all)
	for _, path := range []string{objectPath + "?alt=media", "/models/o"} {
		got := c.do("GET", path, "", "If-Match", with.Replace(`"{ETAG}"`), "If-None-Match", `"other"`, "x-goog-if-generation-match", with.Replace("{G}"))
		if got.status != 200 || got.body != "data" || got.header.Get("Etag") != with.Replace(`"{ETAG}"`) {
			t.Errorf("GET %s with what matches: %d %q %v", path, got.status, got.body, got.header)
		}
	}
}

func TestSourcePreconditionsHold(t *testing.T) {
	t.Parallel()
	c, with := stage(t)
	var all []refused
	for _, verb := range []string{"rewriteTo", "copyTo"} {
		path := "/storage/v1/b/models/o/source/" + verb + "/b/models/o/new?"
		for query, status := range map[string]int{
			"ifSourceGenerationMatch={G}": 412, "ifSourceMetagenerationMatch=2": 412, "ifSourceGenerationNotMatch={S}": 304, "ifSourceMetagenerationNotMatch=1": 304,
			"ifSourceGenerationMatch=x": 400, "sourceGeneration={G}": 404, "sourceGeneration=x": 400,
		} {
			all = append(all, refused{what: verb + " with " + query, method: "POST", path: path + query, status: status})
		}
		all = append(all,
			refused{what: verb + " of nothing", method: "POST", path: "/storage/v1/b/models/o/missing/" + verb + "/b/models/o/new", status: 404, reason: "notFound"},
			refused{what: verb + " to nowhere", method: "POST", path: "/storage/v1/b/models/o/source/" + verb + "/b/nowhere/o/new", status: 404, reason: "notFound"},
			refused{what: verb + " over a hold", method: "POST", path: "/storage/v1/b/models/o/source/" + verb + "/b/models/o/held", status: 403, reason: "forbidden"},
			refused{what: verb + " with a wrong checksum", method: "POST", path: path, body: `{"crc32c":"AAAAAA=="}`, status: 400, reason: "invalid"},
		)
	}
	compose := func(what, body string, status int, reason string) {
		all = append(all, refused{what: "compose " + what, method: "POST", path: "/storage/v1/b/models/o/new/compose", body: body, status: status, reason: reason})
	}
	compose("of another generation", `{"sourceObjects":[{"name":"source","objectPreconditions":{"ifGenerationMatch":"{G}"}}]}`, 412, "conditionNotMet")
	compose("of one wrong in two", `{"sourceObjects":[{"name":"o"},{"name":"source","objectPreconditions":{"ifGenerationMatch":{G}}}]}`, 412, "conditionNotMet")
	compose("of a generation that is not there", `{"sourceObjects":[{"name":"source","generation":"{G}"}]}`, 404, "notFound")
	compose("of nothing there", `{"sourceObjects":[{"name":"missing"}]}`, 404, "notFound")
	compose("of nothing", `{"sourceObjects":[]}`, 400, "invalid")
	compose("of 33", `{"sourceObjects":[`+strings.Repeat(`{"name":"o"},`, 32)+`{"name":"o"}]}`, 400, "invalid")
	compose("with a precondition nobody knows", `{"sourceObjects":[{"name":"o","objectPreconditions":{"ifMetagenerationMatch":1}}]}`, 400, "invalid")
	compose("with a wrong checksum", `{"sourceObjects":[{"name":"o"}],"destination":{"crc32c":"AAAAAA=="}}`, 400, "invalid")
	compose("with an MD5", `{"sourceObjects":[{"name":"o"}],"destination":{"md5Hash":"jXd/OF09/siBXSD3SWAm3A=="}}`, 400, "invalid")
	compose("with a field nobody knows", `{"sources":[{"name":"o"}]}`, 400, "invalid")
	compose("that deletes what is held", `{"sourceObjects":[{"name":"o"},{"name":"held"}],"deleteSourceObjects":true}`, 403, "forbidden")
	all = append(all, refused{what: "compose over a hold", method: "POST", path: "/storage/v1/b/models/o/held/compose", body: `{"sourceObjects":[{"name":"o"}]}`, status: 403, reason: "forbidden"})
	c.refuses(t, with, all)
}

func TestWrongChecksumsLeaveNothing(t *testing.T) {
	t.Parallel()
	c, with := stage(t)
	var all []refused
	// These are the checksums of "data", and what is sent is "DATA".
	for _, sum := range []struct{ json, header string }{
		{`{"crc32c":"rth90Q=="}`, "crc32c=rth90Q=="},
		{`{"md5Hash":"jXd/OF09/siBXSD3SWAm3A=="}`, "md5=jXd/OF09/siBXSD3SWAm3A=="},
		{`{"crc32c":"not base64"}`, "crc32c=!"}, {`{"crc32c":"AAAA"}`, "crc32c=AAAA"}, {`{"md5Hash":"AAAA"}`, "md5=AAAA"}, {`{"crc32c":7}`, "sha1=AAAA"},
	} {
		for _, name := range []string{"o", "new"} {
			all = append(all,
				refused{what: "simple, " + sum.header, method: "POST", path: "/upload/storage/v1/b/models/o?uploadType=media&name=" + name,
					body: "DATA", header: []string{"X-Goog-Hash", sum.header}, status: 400, reason: "invalid"},
				refused{what: "multipart, " + sum.json, method: "POST", path: "/upload/storage/v1/b/models/o?uploadType=multipart&name=" + name,
					body: fmt.Sprintf(multiBody, sum.json, "DATA"), header: multi, status: 400, reason: "invalid"},
				refused{what: "multipart, " + sum.header, method: "POST", path: "/upload/storage/v1/b/models/o?uploadType=multipart&name=" + name,
					body: fmt.Sprintf(multiBody, "{}", "DATA"), header: append([]string{"X-Goog-Hash", sum.header}, multi...), status: 400, reason: "invalid"},
			)
		}
	}
	all = append(all, refused{what: "two that differ", method: "POST", path: objectUp + "multipart",
		body: fmt.Sprintf(multiBody, `{"crc32c":"rth90Q=="}`, "data"), header: append([]string{"X-Goog-Hash", "crc32c=AAAAAA=="}, multi...), status: 400, reason: "invalid"})
	c.refuses(t, with, all)
	right := c.do("POST", objectUp+"multipart", fmt.Sprintf(multiBody, `{"crc32c":"rth90Q==","md5Hash":"jXd/OF09/siBXSD3SWAm3A=="}`, "data"), multi...)
	if right.status != 200 || right.field(t, "crc32c") != "rth90Q==" {
		t.Errorf("the right checksums: %d %s", right.status, right.body)
	}
}

func TestBadUploadsLeaveNothing(t *testing.T) {
	t.Parallel()
	c, with := stage(t)
	up := "/upload/storage/v1/b/models/o?uploadType="
	c.refuses(t, with, []refused{
		{what: "no type", method: "POST", path: "/upload/storage/v1/b/models/o?name=x", status: 400, reason: "invalidParameter"},
		{what: "a type nobody knows", method: "POST", path: up + "bundle&name=x", status: 400, reason: "invalidParameter"},
		{what: "no name", method: "POST", path: up + "media", body: "x", status: 400, reason: "required"},
		{what: "a name with a line break", method: "POST", path: up + "media&name=a%0Ab", body: "x", status: 400, reason: "invalid"},
		{what: "a name with a NUL", method: "POST", path: up + "media&name=a%00b", body: "x", status: 400, reason: "invalid"},
		{what: "a name that is not UTF-8", method: "POST", path: up + "media&name=a%ff", body: "x", status: 400, reason: "invalid"},
		{what: "a name that is too long", method: "POST", path: up + "media&name=" + strings.Repeat("a", 1025), body: "x", status: 400, reason: "invalid"},
		{what: "the name ..", method: "POST", path: up + "media&name=..", body: "x", status: 400, reason: "invalid"},
		{what: "multipart in one piece", method: "POST", path: up + "multipart&name=x", body: "x", status: 400, reason: "invalid"},
		{what: "multipart with one part", method: "POST", path: up + "multipart&name=x", body: "--b\r\n\r\n{}\r\n--b--\r\n", header: multi, status: 400, reason: "invalid"},
		{what: "multipart with three parts", method: "POST", path: up + "multipart&name=x", body: "--b\r\n\r\n{}\r\n--b\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b--\r\n", header: multi, status: 400, reason: "invalid"},
		{what: "multipart that breaks off in the data", method: "POST", path: up + "multipart&name=x", body: "--b\r\n\r\n{}\r\n--b\r\n\r\nxyz", header: multi, status: 400, reason: "invalid"},
		{what: "multipart without an end", method: "POST", path: up + "multipart&name=x", body: "--b\r\n\r\n{}\r\n--b\r\n\r\nxyz\r\n--b", header: multi, status: 400, reason: "invalid"},
		{what: "a resource that is not JSON", method: "POST", path: up + "multipart&name=x", body: fmt.Sprintf(multiBody, "{", "x"), header: multi, status: 400, reason: "parseError"},
		{what: "a resource that is a list", method: "POST", path: up + "multipart&name=x", body: fmt.Sprintf(multiBody, "[]", "x"), header: multi, status: 400, reason: "parseError"},
		{what: "a field nobody knows", method: "POST", path: up + "multipart&name=x", body: fmt.Sprintf(multiBody, `{"contenttype":"x"}`, "x"), header: multi, status: 400, reason: "invalid"},
		{what: "a field of the wrong form", method: "POST", path: up + "multipart&name=x", body: fmt.Sprintf(multiBody, `{"metadata":{"a":1}}`, "x"), header: multi, status: 400, reason: "invalid"},
		{what: "another bucket in the resource", method: "POST", path: up + "multipart&name=x", body: fmt.Sprintf(multiBody, `{"bucket":"other"}`, "x"), header: multi, status: 400, reason: "invalid"},
		{what: "a storage class nobody knows", method: "POST", path: up + "multipart&name=x", body: fmt.Sprintf(multiBody, `{"storageClass":"FAST"}`, "x"), header: multi, status: 400, reason: "invalid"},
		{what: "access rules", method: "POST", path: up + "multipart&name=x", body: fmt.Sprintf(multiBody, `{"acl":[{"entity":"allUsers"}]}`, "x"), header: multi, status: 400, reason: "notImplemented"},
		{what: "an encryption key", method: "POST", path: up + "media&name=x", body: "x", header: []string{"x-goog-encryption-algorithm", "AES256"}, status: 400, reason: "notImplemented"},
		{what: "a KMS key", method: "POST", path: up + "media&name=x&kmsKeyName=k", body: "x", status: 400, reason: "notImplemented"},
	})
}

func TestHeldObjectsStay(t *testing.T) {
	t.Parallel()
	c, with := stage(t)
	var all []refused
	for _, o := range []struct{ bucket, name, reason string }{{"models", "held", "forbidden"}, {"models", "kept", "forbidden"}, {"retained", "o", "retentionPolicyNotMet"}} {
		path := "/storage/v1/b/" + o.bucket + "/o/" + o.name
		up := "/upload/storage/v1/b/" + o.bucket + "/o?name=" + o.name + "&uploadType="
		all = append(all,
			refused{what: "delete " + o.name, method: "DELETE", path: path, status: 403, reason: o.reason},
			refused{what: "replace " + o.name, method: "POST", path: up + "media", body: "x", status: 403, reason: o.reason},
			refused{what: "replace by multipart " + o.name, method: "POST", path: up + "multipart", body: fmt.Sprintf(multiBody, "{}", "x"), header: multi, status: 403, reason: o.reason},
			refused{what: "start to replace " + o.name, method: "POST", path: up + "resumable", body: "{}", status: 403, reason: o.reason},
			refused{what: "compose over " + o.name, method: "POST", path: path + "/compose", body: `{"sourceObjects":[{"name":"` + o.name + `"}]}`, status: 403, reason: o.reason},
			refused{what: "copy over " + o.name, method: "POST", path: "/storage/v1/b/models/o/source/copyTo/b/" + o.bucket + "/o/" + o.name, status: 403, reason: o.reason},
		)
	}
	c.refuses(t, with, all)
	if got := c.must("PATCH", "/storage/v1/b/models/o/held", `{"contentType":"a/b"}`); got.field(t, "contentType") != "a/b" {
		t.Errorf("the metadata of a held object: %s", got.body)
	}
	c.must("PATCH", "/storage/v1/b/models/o/held", `{"temporaryHold":false}`)
	c.must("DELETE", "/storage/v1/b/models/o/held", "")
	c.clock = time.Now().Add(2 * time.Hour)
	c.must("DELETE", "/storage/v1/b/retained/o/o", "")
}

func TestBadChangesAndListsAreRefused(t *testing.T) {
	t.Parallel()
	c, with := stage(t)
	c.must("PATCH", "/storage/v1/b/models/o/source", `{"customTime":"2026-01-01T00:00:00Z"}`)
	list := "/storage/v1/b/models/o?"
	c.refuses(t, with, []refused{
		{what: "a new class without a rewrite", method: "PATCH", path: objectPath, body: `{"storageClass":"NEARLINE"}`, status: 400, reason: "invalid"},
		{what: "an earlier custom time", method: "PATCH", path: "/storage/v1/b/models/o/source", body: `{"customTime":"2025-01-01T00:00:00Z"}`, status: 400, reason: "invalid"},
		{what: "no custom time", method: "PATCH", path: "/storage/v1/b/models/o/source", body: `{"customTime":null}`, status: 400, reason: "invalid"},
		{what: "another name", method: "PATCH", path: objectPath, body: `{"name":"x"}`, status: 400, reason: "invalid"},
		{what: "a field nobody knows", method: "PATCH", path: objectPath, body: `{"metaData":{}}`, status: 400, reason: "invalid"},
		{what: "a retention", method: "PATCH", path: objectPath, body: `{"retention":{"mode":"Locked"}}`, status: 400, reason: "notImplemented"},
		{what: "maxResults", method: "GET", path: list + "maxResults=many", status: 400, reason: "invalidParameter"},
		{what: "negative maxResults", method: "GET", path: list + "maxResults=-1", status: 400, reason: "invalidParameter"},
		{what: "a page token", method: "GET", path: list + "pageToken=!", status: 400, reason: "invalidParameter"},
		{what: "a page token of another list", method: "GET", path: list + "pageToken=" + token("other\x00a\x00"), status: 400, reason: "invalidParameter"},
		{what: "versions", method: "GET", path: list + "versions=yes", status: 400, reason: "invalidParameter"},
		{what: "a glob", method: "GET", path: list + "matchGlob=**", status: 400, reason: "notImplemented"},
		{what: "deleted objects", method: "GET", path: list + "softDeleted=true", status: 400, reason: "notImplemented"},
		{what: "a parameter nobody knows", method: "GET", path: list + "prefixes=a", status: 400, reason: "invalidParameter"},
		{what: "an object's parameter nobody knows", method: "DELETE", path: objectPath + "?ifgenerationmatch=1", status: 400, reason: "invalidParameter"},
		{what: "a projection", method: "GET", path: objectPath + "?projection=half", status: 400, reason: "invalidParameter"},
		{what: "alt=media where there is none", method: "GET", path: list + "alt=media", status: 400, reason: "invalidParameter"},
		{what: "a range behind the end", method: "GET", path: objectPath + "?alt=media", header: []string{"Range", "bytes=4-"}, status: 416, reason: "requestedRangeNotSatisfiable"},
		{what: "an XML range behind the end", method: "GET", path: "/models/o", header: []string{"Range", "bytes=4-"}, status: 416},
		{what: "no bucket's objects", method: "GET", path: "/storage/v1/b/nowhere/o", status: 404, reason: "notFound"},
		{what: "an XML read of nothing", method: "GET", path: "/models/missing", status: 404},
		{what: "an XML read with a parameter nobody knows", method: "GET", path: "/models/o?acl", status: 400},
		{what: "an XML write", method: "PUT", path: "/models/o", body: "x", status: 400, reason: "notImplemented"},
		{what: "an XML delete", method: "DELETE", path: "/models/o", status: 400, reason: "notImplemented"},
		{what: "access rules", method: "GET", path: objectPath + "/acl", status: 400, reason: "notImplemented"},
		{what: "a move", method: "POST", path: objectPath + "/moveTo/o/p", status: 400, reason: "notImplemented"},
		{what: "a restore", method: "POST", path: objectPath + "/restore?generation={OLD}", status: 400, reason: "notImplemented"},
		{what: "notifications", method: "GET", path: "/storage/v1/b/models/notificationConfigs", status: 400, reason: "notImplemented"},
		{what: "a batch", method: "POST", path: "/batch/storage/v1", status: 400, reason: "notImplemented"},
		{what: "an object's unescaped slash", method: "GET", path: "/storage/v1/b/models/o/a/b", status: 400, reason: "notImplemented"},
	})
}

func TestBadBucketsAreRefused(t *testing.T) {
	t.Parallel()
	c, with := stage(t)
	var all []refused
	for _, name := range append(reservedNames, "ab", "Upper", "-dash", "dash-", "a b", "a..b", "a.-b", "192.168.1.1", "goog-x", "my-google", strings.Repeat("a", 64), "") {
		all = append(all, refused{what: "bucket " + name, method: "POST", path: "/storage/v1/b?project=p", body: `{"name":"` + name + `"}`, status: 400, reason: "invalid"})
	}
	create := func(what, body string, status int, reason string) {
		all = append(all, refused{what: what, method: "POST", path: "/storage/v1/b?project=p", body: body, status: status, reason: reason})
	}
	create("no name", `{}`, 400, "required")
	create("a name that is taken", `{"name":"models"}`, 409, "conflict")
	create("a location that is none", `{"name":"new","location":"a place"}`, 400, "invalid")
	create("a class that is none", `{"name":"new","storageClass":"FAST"}`, 400, "invalid")
	create("a label", `{"name":"new","labels":{"A":"b"}}`, 400, "invalid")
	create("versioning", `{"name":"new","versioning":{"enabled":"yes"}}`, 400, "invalid")
	create("a retention without a number", `{"name":"new","retentionPolicy":{"retentionPeriod":"long"}}`, 400, "invalid")
	create("a field nobody knows", `{"name":"new","storageclass":"STANDARD"}`, 400, "invalid")
	create("a namespace", `{"name":"new","hierarchicalNamespace":{"enabled":true}}`, 400, "notImplemented")
	create("not JSON", `{"name"`, 400, "parseError")
	create("too much", `{"name":"new","labels":{"a":"`+strings.Repeat("a", maxJSON)+`"}}`, 413, "uploadTooLarge")
	c.refuses(t, with, append(all,
		refused{what: "no project", method: "POST", path: "/storage/v1/b", body: `{"name":"new"}`, status: 400, reason: "required"},
		refused{what: "list without a project", method: "GET", path: "/storage/v1/b", status: 400, reason: "required"},
		refused{what: "access rules", method: "POST", path: "/storage/v1/b?project=p&predefinedAcl=publicRead", body: `{"name":"new"}`, status: 400, reason: "notImplemented"},
		refused{what: "another location", method: "PATCH", path: "/storage/v1/b/models", body: `{"location":"EU"}`, status: 400, reason: "invalid"},
		refused{what: "another name", method: "PATCH", path: "/storage/v1/b/models", body: `{"name":"other"}`, status: 400, reason: "invalid"},
		refused{what: "delete with objects in it", method: "DELETE", path: "/storage/v1/b/models", status: 409, reason: "conflict"},
		refused{what: "a generation to match", method: "DELETE", path: "/storage/v1/b/models", header: []string{"x-goog-if-generation-match", "1"}, status: 400, reason: "invalid"},
		refused{what: "delete of nothing", method: "DELETE", path: "/storage/v1/b/nowhere", status: 404, reason: "notFound"},
		refused{what: "a policy with an old etag", method: "PUT", path: "/storage/v1/b/models/iam", body: `{"etag":"x","bindings":[]}`, status: 412, reason: "conditionNotMet"},
		refused{what: "a policy with a binding of nothing", method: "PUT", path: "/storage/v1/b/models/iam", body: `{"bindings":[{}]}`, status: 400, reason: "invalid"},
		refused{what: "a policy's field nobody knows", method: "PUT", path: "/storage/v1/b/models/iam", body: `{"binding":[]}`, status: 400, reason: "invalid"},
		refused{what: "a permission of another service", method: "GET", path: "/storage/v1/b/models/iam/testPermissions?permissions=run.services.get", status: 400, reason: "invalid"},
	))
}

func TestARefusalSaysItAsGoogleDoes(t *testing.T) {
	t.Parallel()
	c, _ := stage(t)
	got := c.do("GET", objectPath+"?ifGenerationMatch=1", "")
	for _, part := range []string{`"error":{"code":412`, `"domain":"global"`, `"reason":"conditionNotMet"`, `"message":"`} {
		if !strings.Contains(got.body, part) {
			t.Errorf("%s has no %s", got.body, part)
		}
	}
	if got := c.do("GET", "/models/missing", ""); !strings.Contains(got.body, "<Error><Code>NoSuchKey</Code>") {
		t.Errorf("the XML refusal is %s", got.body)
	}
	if got := c.do("GET", objectPath+"/acl", ""); !strings.Contains(got.body, "GET "+objectPath+"/acl") {
		t.Errorf("what is not implemented does not name itself: %s", got.body)
	}
}
