package gcs_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/tftctl/tftctl/pkg/blob/blobtest"
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/gcp"
	"github.com/tftctl/tftctl/pkg/gcs"
	"github.com/tftctl/tftctl/pkg/localcloud"
)

// cloud starts a local cloud for the length of the test. Nothing is started in it.
func cloud(t testing.TB) gcp.Endpoint {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	platform, err := localcloud.Open(ctx, localcloud.Options{Dir: t.TempDir(), Server: "/bin/false"})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			cancel()
			t.Fatal(err)
		}
	}
	served := make(chan error, 1)
	go func() { served <- platform.Serve(ctx, listeners[0], listeners[1]) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("the local cloud ended: %v", err)
		}
	})
	<-platform.Ready()
	return gcp.Endpoint{Address: listeners[0].Addr().String(), Project: "local-dev", Region: "us-central1"}
}

func TestBucketKeepsTheContract(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t testing.TB) blobtest.Store {
		b := gcs.Open(cloud(t), "a-bucket")
		for range 2 { // the second time it is there
			if err := b.Ensure(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return b
	})
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	b := gcs.Open(cloud(t), "no-bucket")
	_, _, err := b.Get(t.Context(), "x")
	if fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "gs://no-bucket") {
		t.Errorf("a bucket that is not there: %v, want NotFound that names it", err)
	}
	if _, err := b.List(t.Context(), ""); fault.KindOf(err) != fault.NotFound || fault.HintOf(err) == "" {
		t.Errorf("a list of it: %v (hint %q), want NotFound with a hint", err, fault.HintOf(err))
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	b := gcs.Open(gcp.Endpoint{Address: "127.0.0.1:1"}, "b")
	if _, _, err := b.Get(t.Context(), "x"); fault.KindOf(err) != fault.Unavailable || fault.HintOf(err) == "" {
		t.Errorf("%v (hint %q), want Unavailable with a hint", err, fault.HintOf(err))
	}
}
