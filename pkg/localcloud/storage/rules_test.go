package storage

import (
	"encoding/json"
	"testing"
	"testing/quick"

	"github.com/google/go-cmp/cmp"
)

func TestParseRange(t *testing.T) {
	t.Parallel()
	for _, r := range []struct {
		header        string
		size          int64
		first, length int64
		whole, no     bool
	}{
		{"bytes=0-3", 10, 0, 4, false, false},
		{"bytes=3-", 10, 3, 7, false, false},
		{"bytes=3-100", 10, 3, 7, false, false},
		{"bytes=-3", 10, 7, 3, false, false},
		{"bytes=-100", 10, 0, 10, false, false},
		{"bytes=9-9", 10, 9, 1, false, false},
		{"bytes=10-", 10, 0, 0, false, true},
		{"bytes=-0", 10, 0, 0, false, true},
		{"bytes=0-", 0, 0, 0, false, true},
		{"bytes=-1", 0, 0, 0, false, true},
		{"", 10, 0, 0, true, false},
		{"bytes=5-3", 10, 0, 0, true, false},
		{"bytes=0-1,3-4", 10, 0, 0, true, false},
		{"lines=0-1", 10, 0, 0, true, false},
		{"bytes=a-b", 10, 0, 0, true, false},
	} {
		part, whole, err := parseRange(r.header, r.size)
		if (err != nil) != r.no || whole != r.whole || part != (byteRange{r.first, r.length}) {
			t.Errorf("%q of %d: got %v, whole %v, %v; want %v", r.header, r.size, part, whole, err, r)
		}
	}
}

func TestParseRangeStaysInside(t *testing.T) {
	t.Parallel()
	inside := func(header string, size uint16) bool {
		part, whole, err := parseRange("bytes="+header, int64(size))
		return err != nil || whole || part.first >= 0 && part.length > 0 && part.first+part.length <= int64(size)
	}
	if err := quick.Check(inside, nil); err != nil {
		t.Error(err)
	}
}

func FuzzParseChunk(f *testing.F) {
	for _, s := range []string{"bytes 0-1/2", "bytes */*", "bytes */5", "bytes 0-262143/*", "", "bytes 999999999999999999-999999999999999999/*"} {
		f.Add(s, int64(-1))
		f.Add(s, int64(2))
	}
	f.Fuzz(func(t *testing.T, header string, length int64) {
		c, err := parseChunk(header, max(length, -1))
		if err != nil || c.asksStatus || header == "" {
			return
		}
		if c.first < 0 || c.length <= 0 || c.total >= 0 && c.first+c.length > c.total || c.first+c.length != c.total && c.length%chunkUnit != 0 {
			t.Errorf("%q with %d bytes: %+v", header, length, c)
		}
	})
}

func TestMergeIsAPatch(t *testing.T) {
	t.Parallel()
	object := func(text string) map[string]any {
		var v map[string]any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ old, patch, want string }{
		{`{"a":1}`, `{}`, `{"a":1}`},
		{`{"a":1}`, `{"a":2,"b":3}`, `{"a":2,"b":3}`},
		{`{"a":1}`, `{"a":null}`, `{}`},
		{`{"a":{"b":1,"c":2}}`, `{"a":{"b":null,"d":3}}`, `{"a":{"c":2,"d":3}}`},
		{`{"a":[1,2]}`, `{"a":[3]}`, `{"a":[3]}`},
		{`{"a":1}`, `{"a":{"b":null}}`, `{"a":{}}`},
	} {
		old := object(c.old)
		if got := merge(old, object(c.patch)); !cmp.Equal(got, object(c.want)) {
			t.Errorf("merge(%s, %s) = %v, want %s", c.old, c.patch, got, c.want)
		}
		if !cmp.Equal(old, object(c.old)) {
			t.Errorf("merge(%s, %s) changed what it was given to %v", c.old, c.patch, old)
		}
	}
}

func TestBucketNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"abc", "my-models", "my_models", "team.models-1", "0ab", "a.b.c", "1.2.3.4.5"} {
		if err := checkBucketName(name); err != nil {
			t.Errorf("%q is refused: %v", name, err)
		}
	}
}
