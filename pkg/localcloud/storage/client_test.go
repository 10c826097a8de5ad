package storage

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	gcs "cloud.google.com/go/storage"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
)

// The tests in this file go through Google's own Go client.

func bytesOf(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func crcOf(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func codeOf(err error) int {
	var e *googleapi.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func write(ctx context.Context, o *gcs.ObjectHandle, data []byte, set func(*gcs.Writer)) (*gcs.ObjectAttrs, error) {
	w := o.NewWriter(ctx)
	if set != nil {
		set(w)
	}
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return w.Attrs(), nil
}

func read(ctx context.Context, o *gcs.ObjectHandle) ([]byte, error) {
	r, err := o.NewReader(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// eachClient runs test with the client that reads by XML, its default, and with
// the one that reads by JSON.
func eachClient(t *testing.T, test func(t *testing.T, c *cloud, bucket *gcs.BucketHandle)) {
	for name, opts := range map[string][]option.ClientOption{"xml reads": nil, "json reads": {gcs.WithJSONReads()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			b := c.client(opts...).Bucket("models")
			if err := b.Create(t.Context(), "p", nil); err != nil {
				t.Fatal(err)
			}
			test(t, c, b)
		})
	}
}

func TestClientReadsWhatItWrote(t *testing.T) {
	t.Parallel()
	eachClient(t, func(t *testing.T, c *cloud, b *gcs.BucketHandle) {
		for name, size := range map[string]int{"empty": 0, "a/small file+1.txt": 10, "unité/ ü?#%2F": 3000, "chunks": 3*chunkUnit + 17, "exact chunks": 2 * chunkUnit} {
			for how, set := range map[string]func(*gcs.Writer){
				"by default":       nil,
				"in chunks":        func(w *gcs.Writer) { w.ChunkSize = chunkUnit },
				"unbuffered":       func(w *gcs.Writer) { w.ChunkSize = 0 },
				"with declared md": func(w *gcs.Writer) { w.ChunkSize = chunkUnit; w.MD5 = sumOf(bytesOf(size, 7)) },
				"with declared crc": func(w *gcs.Writer) {
					w.ChunkSize, w.SendCRC32C, w.CRC32C = chunkUnit, true, crcOf(bytesOf(size, 7))
				},
			} {
				data := bytesOf(size, 7)
				o := b.Object(name)
				attrs, err := write(t.Context(), o, data, func(w *gcs.Writer) {
					w.ContentType = "application/x-model"
					w.Metadata = map[string]string{"release": "v1"}
					if set != nil {
						set(w)
					}
				})
				if err != nil {
					t.Fatalf("write %q %s: %v", name, how, err)
				}
				if attrs.CRC32C != crcOf(data) || attrs.Size != int64(size) || !bytes.Equal(attrs.MD5, sumOf(data)) || attrs.Generation == 0 || attrs.Metageneration != 1 {
					t.Errorf("%q %s: wrote %d bytes and got %+v", name, how, size, attrs)
				}
				got, err := read(t.Context(), o)
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("%q %s: read %d bytes, %v; want the %d that were written", name, how, len(got), err, size)
				}
				r, err := o.NewReader(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				r.Close()
				if r.Attrs.Generation != attrs.Generation || r.Attrs.Metageneration != 1 || r.Attrs.ContentType != "application/x-model" ||
					r.Metadata()["Release"] != "v1" || r.Attrs.Size != int64(size) || r.Attrs.LastModified.IsZero() {
					t.Errorf("%q %s: the reader says %+v %v", name, how, r.Attrs, r.Metadata())
				}
			}
		}
		_, err := read(t.Context(), b.Object("missing"))
		if !errors.Is(err, gcs.ErrObjectNotExist) {
			t.Errorf("a missing object: got %v, want %v", err, gcs.ErrObjectNotExist)
		}
	})
}

func sumOf(b []byte) []byte { s := md5.Sum(b); return s[:] }

func TestClientReadsRanges(t *testing.T) {
	t.Parallel()
	eachClient(t, func(t *testing.T, c *cloud, b *gcs.BucketHandle) {
		o := b.Object("o")
		if _, err := write(t.Context(), o, []byte("0123456789"), nil); err != nil {
			t.Fatal(err)
		}
		for _, r := range []struct {
			offset, length int64
			want           string
		}{{0, -1, "0123456789"}, {3, -1, "3456789"}, {3, 4, "3456"}, {-3, -1, "789"}, {8, 100, "89"}, {0, 0, ""}, {-100, -1, "0123456789"}} {
			reader, err := o.NewRangeReader(t.Context(), r.offset, r.length)
			if err != nil {
				t.Errorf("range %d, %d: %v", r.offset, r.length, err)
				continue
			}
			got, err := io.ReadAll(reader)
			reader.Close()
			if err != nil || string(got) != r.want || reader.Attrs.Size != 10 {
				t.Errorf("range %d, %d: got %q of %d, %v; want %q of 10", r.offset, r.length, got, reader.Attrs.Size, err, r.want)
			}
		}
		if _, err := o.NewRangeReader(t.Context(), 10, -1); codeOf(err) != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("a range behind the end: got %v, want 416", err)
		}
	})
}

func TestClientsPreconditionsHold(t *testing.T) {
	t.Parallel()
	eachClient(t, func(t *testing.T, c *cloud, b *gcs.BucketHandle) {
		ctx := t.Context()
		o := b.Object("o")
		first, err := write(ctx, o.If(gcs.Conditions{DoesNotExist: true}), []byte("one"), nil)
		if err != nil {
			t.Fatal(err)
		}
		second, err := write(ctx, o.If(gcs.Conditions{GenerationMatch: first.Generation}), []byte("two"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if second.Generation <= first.Generation {
			t.Errorf("generation %d after %d does not grow", second.Generation, first.Generation)
		}
		other := b.Object("other")
		if _, err := write(ctx, other, []byte("other"), nil); err != nil {
			t.Fatal(err)
		}
		stale := gcs.Conditions{GenerationMatch: first.Generation}
		staleMeta := gcs.Conditions{MetagenerationMatch: 5}
		refused := map[string]func(o *gcs.ObjectHandle) error{
			"attrs": func(o *gcs.ObjectHandle) error { _, err := o.Attrs(ctx); return err },
			"read":  func(o *gcs.ObjectHandle) error { _, err := read(ctx, o); return err },
			"write": func(o *gcs.ObjectHandle) error { _, err := write(ctx, o, []byte("x"), nil); return err },
			"chunked": func(o *gcs.ObjectHandle) error {
				_, err := write(ctx, o, bytesOf(3*chunkUnit, 1), smallChunks)
				return err
			},
			"update": func(o *gcs.ObjectHandle) error {
				_, err := o.Update(ctx, gcs.ObjectAttrsToUpdate{ContentType: "x/y"})
				return err
			},
			"delete":  func(o *gcs.ObjectHandle) error { return o.Delete(ctx) },
			"compose": func(o *gcs.ObjectHandle) error { _, err := o.ComposerFrom(other, other).Run(ctx); return err },
			"copy":    func(o *gcs.ObjectHandle) error { _, err := o.CopierFrom(other).Run(ctx); return err },
			"copy from": func(o *gcs.ObjectHandle) error {
				_, err := other.CopierFrom(o).Run(ctx)
				return err
			},
		}
		before := c.snapshot()
		for name, do := range refused {
			for _, conds := range []gcs.Conditions{stale, staleMeta} {
				if err := do(o.If(conds)); codeOf(err) != http.StatusPreconditionFailed {
					t.Errorf("%s if %+v: got %v, want 412", name, conds, err)
				}
			}
		}
		if _, err := other.ComposerFrom(o.If(stale)).Run(ctx); codeOf(err) != http.StatusPreconditionFailed {
			t.Errorf("compose from a stale source: got %v, want 412", err)
		}
		if _, err := o.If(gcs.Conditions{GenerationNotMatch: second.Generation}).Attrs(ctx); codeOf(err) != http.StatusNotModified {
			t.Errorf("attrs if not the generation that it is: got %v, want 304", err)
		}
		if _, err := write(ctx, o.If(gcs.Conditions{DoesNotExist: true}), []byte("x"), nil); codeOf(err) != http.StatusPreconditionFailed {
			t.Errorf("write if it does not exist: got %v, want 412", err)
		}
		if after := c.snapshot(); after != before {
			t.Errorf("refused requests changed something:\n%s", cmp.Diff(before, after))
		}
		if err := o.If(gcs.Conditions{GenerationMatch: second.Generation}).Delete(ctx); err != nil {
			t.Errorf("delete of the right generation: %v", err)
		}
	})
}

func smallChunks(w *gcs.Writer) { w.ChunkSize = chunkUnit }

func TestOfManyWritersOverOneGenerationOneWins(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	o := c.client().Bucket("models")
	if err := o.Create(t.Context(), "p", nil); err != nil {
		t.Fatal(err)
	}
	var wins atomic.Int32
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			_, err := write(t.Context(), o.Object("lock").If(gcs.Conditions{DoesNotExist: true}), []byte{byte(i)}, nil)
			switch {
			case err == nil:
				wins.Add(1)
			case codeOf(err) != http.StatusPreconditionFailed:
				t.Errorf("a loser got %v, want 412", err)
			}
		})
	}
	writers.Wait()
	if got := wins.Load(); got != 1 {
		t.Errorf("%d writers won, want 1", got)
	}
}

func TestClientListsAFolder(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	b := c.client().Bucket("models")
	if err := b.Create(t.Context(), "p", nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "dir/1", "dir/2", "dir/sub/3", "e", "dir0", "z/"} {
		if _, err := write(t.Context(), b.Object(name), []byte(name), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, q := range []struct {
		query gcs.Query
		want  []string
	}{
		{gcs.Query{}, []string{"a", "dir/1", "dir/2", "dir/sub/3", "dir0", "e", "z/"}},
		{gcs.Query{Delimiter: "/"}, []string{"a", "dir/", "dir0", "e", "z/"}},
		{gcs.Query{Prefix: "dir/", Delimiter: "/"}, []string{"dir/1", "dir/2", "dir/sub/"}},
		{gcs.Query{Prefix: "dir"}, []string{"dir/1", "dir/2", "dir/sub/3", "dir0"}},
		{gcs.Query{StartOffset: "dir/2", EndOffset: "e"}, []string{"dir/2", "dir/sub/3", "dir0"}},
		{gcs.Query{Prefix: "none"}, nil},
	} {
		for _, size := range []int{0, 1, 2, 3} {
			it := b.Objects(t.Context(), &q.query)
			it.PageInfo().MaxSize = size
			var got []string
			for {
				attrs, err := it.Next()
				if errors.Is(err, iterator.Done) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, attrs.Name+attrs.Prefix)
			}
			slices.Sort(got)
			if !cmp.Equal(got, q.want) {
				t.Errorf("%+v in pages of %d: got %v, want %v", q.query, size, got, q.want)
			}
		}
	}
	if _, err := c.client().Bucket("missing").Objects(t.Context(), nil).Next(); !errors.Is(err, gcs.ErrBucketNotExist) {
		t.Errorf("objects of a missing bucket: got %v, want %v", err, gcs.ErrBucketNotExist)
	}
}

func TestClientChangesWhatItMay(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	ctx := t.Context()
	b := c.client().Bucket("models")
	if err := b.Create(ctx, "p", nil); err != nil {
		t.Fatal(err)
	}
	o := b.Object("o")
	first, err := write(ctx, o, []byte("data"), func(w *gcs.Writer) { w.Metadata = map[string]string{"a": "1", "b": "2"} })
	if err != nil {
		t.Fatal(err)
	}
	second, err := o.If(gcs.Conditions{MetagenerationMatch: 1}).Update(ctx, gcs.ObjectAttrsToUpdate{
		CacheControl: "no-store", Metadata: map[string]string{"b": "3"}, TemporaryHold: true})
	if err != nil {
		t.Fatal(err)
	}
	if second.Generation != first.Generation || second.Metageneration != 2 || second.CacheControl != "no-store" ||
		!cmp.Equal(second.Metadata, map[string]string{"a": "1", "b": "3"}) || !second.TemporaryHold || second.Etag == first.Etag {
		t.Errorf("after the patch: %+v", second)
	}
	if err := o.Delete(ctx); codeOf(err) != http.StatusForbidden {
		t.Errorf("delete of a held object: got %v, want 403", err)
	}
	if _, err := write(ctx, o, []byte("new"), nil); codeOf(err) != http.StatusForbidden {
		t.Errorf("replacement of a held object: got %v, want 403", err)
	}
	if _, err := o.Update(ctx, gcs.ObjectAttrsToUpdate{TemporaryHold: false, Metadata: map[string]string{}}); err != nil {
		t.Fatal(err)
	}
	if err := o.Delete(ctx); err != nil {
		t.Errorf("delete without the hold: %v", err)
	}
	if err := o.Delete(ctx); !errors.Is(err, gcs.ErrObjectNotExist) {
		t.Errorf("delete again: got %v, want %v", err, gcs.ErrObjectNotExist)
	}
}

func TestClientComposesAndCopies(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	ctx := t.Context()
	b := c.client().Bucket("models")
	if err := b.Create(ctx, "p", nil); err != nil {
		t.Fatal(err)
	}
	one, two, both := b.Object("one"), b.Object("two"), b.Object("both")
	for o, text := range map[*gcs.ObjectHandle]string{one: "first ", two: "second"} {
		if _, err := write(ctx, o, []byte(text), nil); err != nil {
			t.Fatal(err)
		}
	}
	composer := both.ComposerFrom(one, two)
	composer.ContentType = "text/plain"
	composer.SendCRC32C, composer.CRC32C = true, crcOf([]byte("first second"))
	attrs, err := composer.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if attrs.ComponentCount != 2 || len(attrs.MD5) != 0 || attrs.CRC32C != crcOf([]byte("first second")) || attrs.Size != 12 || attrs.ContentType != "text/plain" {
		t.Errorf("composed %+v", attrs)
	}
	again, err := both.ComposerFrom(both, one).Run(ctx)
	if err != nil || again.ComponentCount != 3 {
		t.Errorf("composed again: %+v, %v; want 3 components", again, err)
	}
	composer = b.Object("wrong").ComposerFrom(one, two)
	composer.SendCRC32C, composer.CRC32C = true, 1
	if _, err := composer.Run(ctx); codeOf(err) != http.StatusBadRequest {
		t.Errorf("compose with a wrong checksum: got %v, want 400", err)
	}
	target := c.client().Bucket("elsewhere")
	if err := target.Create(ctx, "p", nil); err != nil {
		t.Fatal(err)
	}
	big := bytesOf(5<<19, 3)
	if _, err := write(ctx, b.Object("big"), big, func(w *gcs.Writer) { w.ContentType = "x/big"; w.CacheControl = "no-cache" }); err != nil {
		t.Fatal(err)
	}
	copier := target.Object("copy").CopierFrom(b.Object("big"))
	steps := 0
	copier.ProgressFunc = func(uint64, uint64) { steps++ }
	attrs, err = copier.Run(ctx)
	if err != nil || attrs.CRC32C != crcOf(big) || attrs.ContentType != "x/big" || attrs.CacheControl != "no-cache" || attrs.Bucket != "elsewhere" || steps != 1 {
		t.Errorf("copied in %d steps %+v, %v", steps, attrs, err)
	}
	copier = target.Object("copy2").CopierFrom(b.Object("big"))
	copier.ContentType = "x/other"
	attrs, err = copier.Run(ctx)
	if err != nil || attrs.ContentType != "x/other" || attrs.CacheControl != "" {
		t.Errorf("copied with settings of its own: %+v, %v", attrs, err)
	}
}

func TestClientKeepsOldGenerations(t *testing.T) {
	t.Parallel()
	eachClient(t, func(t *testing.T, c *cloud, _ *gcs.BucketHandle) {
		ctx := t.Context()
		b := c.client(gcs.WithJSONReads()).Bucket("versioned")
		if err := b.Create(ctx, "p", &gcs.BucketAttrs{VersioningEnabled: true}); err != nil {
			t.Fatal(err)
		}
		o := b.Object("o")
		var generations []int64
		for _, text := range []string{"one", "two", "three"} {
			attrs, err := write(ctx, o, []byte(text), nil)
			if err != nil {
				t.Fatal(err)
			}
			generations = append(generations, attrs.Generation)
		}
		got, err := read(ctx, o.Generation(generations[0]))
		if err != nil || string(got) != "one" {
			t.Errorf("the first generation is %q, %v; want one", got, err)
		}
		list := func() (all []int64, deleted int) {
			it := b.Objects(ctx, &gcs.Query{Versions: true})
			for {
				attrs, err := it.Next()
				if errors.Is(err, iterator.Done) {
					return all, deleted
				}
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, attrs.Generation)
				if !attrs.Deleted.IsZero() {
					deleted++
				}
			}
		}
		if all, deleted := list(); !cmp.Equal(all, generations) || deleted != 2 {
			t.Errorf("listed %v with %d noncurrent, want %v with 2", all, deleted, generations)
		}
		if err := o.Delete(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := read(ctx, o); !errors.Is(err, gcs.ErrObjectNotExist) {
			t.Errorf("after delete got %v, want %v", err, gcs.ErrObjectNotExist)
		}
		if all, deleted := list(); len(all) != 3 || deleted != 3 {
			t.Errorf("after delete %v with %d noncurrent, want 3 with 3", all, deleted)
		}
		if err := o.Generation(generations[1]).Delete(ctx); err != nil {
			t.Fatal(err)
		}
		if all, _ := list(); !cmp.Equal(all, []int64{generations[0], generations[2]}) {
			t.Errorf("after one was deleted for good: %v", all)
		}
		if err := b.Delete(ctx); codeOf(err) != http.StatusConflict {
			t.Errorf("delete of a bucket with noncurrent objects: got %v, want 409", err)
		}
	})
}

func TestClientManagesBuckets(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	ctx := t.Context()
	client := c.client()
	b := client.Bucket("team.models-1")
	err := b.Create(ctx, "p", &gcs.BucketAttrs{
		Location: "europe-west1", StorageClass: "NEARLINE", Labels: map[string]string{"team": "forecast"}, VersioningEnabled: true,
		UniformBucketLevelAccess: gcs.UniformBucketLevelAccess{Enabled: true}, PublicAccessPrevention: gcs.PublicAccessPreventionEnforced,
		Lifecycle: gcs.Lifecycle{Rules: []gcs.LifecycleRule{{Action: gcs.LifecycleAction{Type: "Delete"}, Condition: gcs.LifecycleCondition{AgeInDays: 30}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.restart()
	client = c.client()
	b = client.Bucket("team.models-1")
	attrs, err := b.Attrs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if attrs.Location != "EUROPE-WEST1" || attrs.LocationType != "region" || attrs.StorageClass != "NEARLINE" || attrs.Labels["team"] != "forecast" ||
		!attrs.VersioningEnabled || !attrs.UniformBucketLevelAccess.Enabled || attrs.PublicAccessPrevention != gcs.PublicAccessPreventionEnforced ||
		len(attrs.Lifecycle.Rules) != 1 || attrs.MetaGeneration != 1 || attrs.SoftDeletePolicy.RetentionDuration.Hours() != 7*24 {
		t.Errorf("after a restart: %+v", attrs)
	}
	if err := b.Create(ctx, "p", nil); codeOf(err) != http.StatusConflict {
		t.Errorf("create again: got %v, want 409", err)
	}
	update := gcs.BucketAttrsToUpdate{VersioningEnabled: false}
	update.SetLabel("stage", "prod")
	if _, err := b.If(gcs.BucketConditions{MetagenerationMatch: 9}).Update(ctx, update); codeOf(err) != http.StatusPreconditionFailed {
		t.Errorf("update of another metageneration: got %v, want 412", err)
	}
	attrs, err = b.If(gcs.BucketConditions{MetagenerationMatch: 1}).Update(ctx, update)
	if err != nil || attrs.MetaGeneration != 2 || attrs.VersioningEnabled || !cmp.Equal(attrs.Labels, map[string]string{"team": "forecast", "stage": "prod"}) {
		t.Errorf("updated: %+v, %v", attrs, err)
	}
	for i := range 3 {
		if err := client.Bucket(fmt.Sprintf("more-%d", i)).Create(ctx, "p", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.Bucket("others").Create(ctx, "q", nil); err != nil {
		t.Fatal(err)
	}
	var names []string
	it := client.Buckets(ctx, "p")
	it.PageInfo().MaxSize = 2
	for {
		attrs, err := it.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, attrs.Name)
	}
	if want := []string{"more-0", "more-1", "more-2", "team.models-1"}; !cmp.Equal(names, want) {
		t.Errorf("listed %v, want %v", names, want)
	}
	policy, err := b.IAM().V3().Policy(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stale := *policy
	policy.Bindings = policy.Bindings[:1]
	if err := b.IAM().V3().SetPolicy(ctx, policy); err != nil {
		t.Fatal(err)
	}
	if err := b.IAM().V3().SetPolicy(ctx, &stale); codeOf(err) != http.StatusPreconditionFailed {
		t.Errorf("a policy over one that was changed meanwhile: got %v, want 412", err)
	}
	if policy, err = b.IAM().V3().Policy(ctx); err != nil || len(policy.Bindings) != 1 {
		t.Errorf("the policy is %v, %v; want one binding", policy, err)
	}
	granted, err := b.IAM().TestPermissions(ctx, []string{"storage.objects.get"})
	if err != nil || len(granted) != 1 {
		t.Errorf("granted %v, %v; want one", granted, err)
	}
	if err := b.Delete(ctx); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := b.Attrs(ctx); !errors.Is(err, gcs.ErrBucketNotExist) {
		t.Errorf("after delete: got %v, want %v", err, gcs.ErrBucketNotExist)
	}
}

func TestClientFindsTheServerByItself(t *testing.T) {
	c := newCloud(t)
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(c.http.URL, "http://"))
	client, err := gcs.NewClient(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	b := client.Bucket("models")
	if err := b.Create(t.Context(), "p", nil); err != nil {
		t.Fatal(err)
	}
	data := bytesOf(2*chunkUnit+1, 1)
	if _, err := write(t.Context(), b.Object("a/b"), data, smallChunks); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t.Context(), b.Object("a/b")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v; want %d", len(got), err, len(data))
	}
}
