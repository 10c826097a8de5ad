package lock_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tftctl/tftctl/deploy/lock"
	"github.com/tftctl/tftctl/pkg/blob"
	"github.com/tftctl/tftctl/pkg/fault"
)

func TestAHolderKeepsItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := new(blob.Memory)
		held, ctx, err := lock.New(store, "lock", "a").Acquire(t.Context(), "deploy")
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour) // in the bubble: no time passes outside
		if ctx.Err() != nil {
			t.Error("the lease was lost within an hour of renewing")
		}
		if _, _, err := lock.New(store, "lock", "b").Acquire(t.Context(), "deploy"); fault.KindOf(err) != fault.Locked {
			t.Errorf("a second holder: %v, want Locked", err)
		}
		if err := held.Release(); err != nil {
			t.Fatal(err)
		}
		second, _, err := lock.New(store, "lock", "b").Acquire(t.Context(), "deploy")
		if err != nil {
			t.Fatalf("after the release: %v", err)
		}
		if err := second.Release(); err != nil {
			t.Error(err)
		}
	})
}

func TestADeadHoldersLeaseRunsOutAndTheFenceRises(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := new(blob.Memory)
		dead, cancel := context.WithCancel(t.Context())
		first := lock.New(store, "lock", "dead")
		if _, _, err := first.Acquire(dead, "deploy"); err != nil {
			t.Fatal(err)
		}
		cancel() // it renews no more, and releases nothing
		before, _, err := first.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(31 * time.Second)
		held, _, err := lock.New(store, "lock", "next").Acquire(t.Context(), "rollback")
		if err != nil {
			t.Fatalf("after the lease: %v", err)
		}
		after, _, err := first.Look(t.Context())
		if err != nil || after.Fence != before.Fence+1 || after.Holder != "next" {
			t.Errorf("state %+v after %+v, %v", after, before, err)
		}
		if err := held.Release(); err != nil {
			t.Error(err)
		}
	})
}

func TestWhoeverLosesTheLeaseIsStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := new(blob.Memory)
		l := lock.New(store, "lock", "a")
		held, ctx, err := l.Acquire(t.Context(), "deploy")
		if err != nil {
			t.Fatal(err)
		}
		_, generation, err := l.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Put(t.Context(), "lock", []byte(`{"schema":"tftctl/lock/v1","holder":"thief","fence":9}`), generation); err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		if err := held.Release(); err != nil {
			t.Error(err)
		}
		if s, _, _ := l.Look(t.Context()); s.Holder != "thief" {
			t.Errorf("the loser freed the lock of its new holder: %+v", s)
		}
	})
}
