package state

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// childFile names the state that this binary writes to for ever when it is
// started as the child of a test.
const childFile = "STATE_TEST_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childFile); path != "" {
		fmt.Fprintln(os.Stderr, writeForEver(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForEver stores each number under two keys and prints it once both are
// committed.
func writeForEver(path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	for {
		var n uint64
		err := s.Update(func(tx *Tx) error {
			var err error
			if n, err = tx.Next("pair"); err != nil {
				return err
			}
			v := []byte(strconv.FormatUint(n, 10))
			return errors.Join(tx.Put("pair", "one", v), tx.Put("other", "two", v))
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func update(t *testing.T, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasCommittedOutlivesAKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childFile+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	acknowledged := 0
	for range 25 {
		if !lines.Scan() {
			break
		}
		acknowledged, _ = strconv.Atoi(lines.Text())
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		acknowledged, _ = strconv.Atoi(lines.Text())
	}
	child.Wait() // it was killed, which is an error
	if acknowledged < 25 {
		t.Fatalf("the child acknowledged %d transactions before it was killed, want at least 25", acknowledged)
	}

	s := open(t, path)
	err = s.View(func(tx *Tx) error {
		one, two := string(tx.Get("pair", "one")), string(tx.Get("other", "two"))
		n, _ := strconv.Atoi(one)
		if one != two || n < acknowledged {
			t.Errorf("found %q and %q, want the same number, at least %d", one, two, acknowledged)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnErrorUndoesTheWholeTransaction(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	update(t, s, func(tx *Tx) error { return tx.Put("k", "a", []byte("old")) })
	refused := errors.New("refused")
	err := s.Update(func(tx *Tx) error {
		if err := errors.Join(tx.Put("k", "a", []byte("new")), tx.Put("k2", "b", []byte("new"))); err != nil {
			return err
		}
		if _, err := tx.Next("k"); err != nil {
			return err
		}
		return refused
	})
	if !errors.Is(err, refused) {
		t.Fatalf("got %v, want %v", err, refused)
	}
	update(t, s, func(tx *Tx) error {
		if got := string(tx.Get("k", "a")); got != "old" {
			t.Errorf("a is %q, want %q", got, "old")
		}
		if got := tx.Get("k2", "b"); got != nil {
			t.Errorf("b is %q, want nothing", got)
		}
		n, err := tx.Next("k")
		if n != 1 {
			t.Errorf("the first number is %d, want 1", n)
		}
		return err
	})
}

func TestScanVisitsAPrefixInOrder(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	update(t, s, func(tx *Tx) error {
		var errs []error
		for _, k := range []string{"b/2", "a/9", "b/10", "b", "c", "b/1"} {
			errs = append(errs, tx.Put("k", k, []byte("v"+k)))
		}
		return errors.Join(errs...)
	})
	collect := func(scan func(func(string, []byte) error) error) []string {
		t.Helper()
		var got []string
		if err := scan(func(k string, v []byte) error {
			if string(v) != "v"+k {
				t.Errorf("%s has %q", k, v)
			}
			got = append(got, k)
			if k == "b/2" {
				return ErrStop
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	s.View(func(tx *Tx) error {
		got := collect(func(fn func(string, []byte) error) error { return tx.Scan("k", "b/", fn) })
		if want := []string{"b/1", "b/10", "b/2"}; !cmp.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		got = collect(func(fn func(string, []byte) error) error { return tx.ScanFrom("k", "b/", "b/10", fn) })
		if want := []string{"b/10", "b/2"}; !cmp.Equal(got, want) {
			t.Errorf("from b/10 got %v, want %v", got, want)
		}
		got = collect(func(fn func(string, []byte) error) error { return tx.Scan("none", "", fn) })
		if len(got) != 0 {
			t.Errorf("an unknown kind has %v", got)
		}
		return nil
	})
}

func TestScanMayDeleteWhatItVisits(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	const many = 3000 // more than a page of the file holds
	update(t, s, func(tx *Tx) error {
		for i := range many {
			if err := tx.Put("k", fmt.Sprintf("%05d", i), []byte("v")); err != nil {
				return err
			}
		}
		return nil
	})
	seen := 0
	update(t, s, func(tx *Tx) error {
		return tx.Scan("k", "", func(k string, _ []byte) error {
			seen++
			return tx.Delete("k", k)
		})
	})
	if seen != many {
		t.Errorf("visited %d keys, want %d", seen, many)
	}
	s.View(func(tx *Tx) error {
		return tx.Scan("k", "", func(k string, _ []byte) error {
			t.Errorf("%s was left behind", k)
			return ErrStop
		})
	})
}

func TestMessagesAndNumbersOutliveTheProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "folder", "state.db")
	s := open(t, path)
	want, _ := structpb.NewStruct(map[string]any{"traffic": map[string]any{"v1": 90.0, "v2": 10.0}})
	update(t, s, func(tx *Tx) error {
		_, err := tx.Next("op")
		return errors.Join(err, tx.PutMessage("service", "projects/p/s", want), tx.Put("service", "empty", nil))
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	update(t, s, func(tx *Tx) error {
		got := &structpb.Struct{}
		found, err := tx.GetMessage("service", "projects/p/s", got)
		if err != nil || !found || !proto.Equal(got, want) {
			t.Errorf("got %v, %v, %v; want %v", got, found, err, want)
		}
		if found, err := tx.GetMessage("service", "projects/p/other", got); found || err != nil {
			t.Errorf("a missing message: got %v, %v", found, err)
		}
		if tx.Get("service", "empty") == nil {
			t.Error("an empty value was lost")
		}
		n, err := tx.Next("op")
		if n != 2 {
			t.Errorf("the number after a restart is %d, want 2", n)
		}
		return err
	})
}

func TestASecondLocalCloudIsToldWhoHasTheFolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	open(t, path)
	_, err := Open(path)
	if !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want %v", err, ErrInUse)
	}
}

func TestOnlyOurOwnSchemaIsOpened(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		schema string
		later  bool
		says   string
	}{
		{"tftctl/localcloud/v2", true, "tftctl/localcloud/v2"},
		{"tftctl/localcloud/v10", true, "tftctl/localcloud/v10"},
		{"", false, "not a local cloud's state"},
		{"somebody/else/v1", false, "somebody/else/v1"},
	} {
		path := filepath.Join(t.TempDir(), "state.db")
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket(metaBucket)
			if err != nil {
				return err
			}
			return b.Put(schemaKey, []byte(c.schema))
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		_, err = Open(path)
		if err == nil || errors.Is(err, ErrLaterSchema) != c.later || !strings.Contains(err.Error(), c.says) {
			t.Errorf("schema %q: got %v, want an error that names %q (later: %v)", c.schema, err, c.says, c.later)
		}
	}
}

func TestAFileThatIsNoStateIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	text := strings.Repeat("my own notes\n", 10000)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil {
		t.Error("a text file was opened as state")
	}
	if got, _ := os.ReadFile(path); string(got) != text {
		t.Error("the text file was changed")
	}
}
