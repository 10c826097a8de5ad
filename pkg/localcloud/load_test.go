package localcloud_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/tftctl/tftctl/pkg/localcloud/fleet/fleettest"
)

// stream keeps callers asking url, each one request after the other, until the
// returned function is called, which returns how many requests there were and
// how many had no good answer.
func stream(t *testing.T, url string, callers int) func() (requests, failed int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
	var requests, failed atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				// Not ctx: a request that has begun is waited for.
				res, err := client.Get(url)
				requests.Add(1)
				if err != nil {
					failed.Add(1)
					continue
				}
				res.Body.Close()
				if res.StatusCode != http.StatusOK {
					failed.Add(1)
				}
			}
		})
	}
	return func() (int64, int64) {
		cancel()
		wg.Wait()
		client.CloseIdleConnections()
		return requests.Load(), failed.Load()
	}
}

func TestNoRequestFailsWhileTrafficMoves(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	s := create(t, c, "moving", &runpb.Service{Template: template("moving-v1"), Traffic: []*runpb.TrafficTarget{pin("moving-v1", 100, "")}})
	stop := stream(t, s.GetUri(), 4)

	s.Template = template("moving-v2")
	s.Traffic = []*runpb.TrafficTarget{pin("moving-v1", 100, ""), pin("moving-v2", 0, "next")}
	s = mustUpdate(t, c, s)
	for _, percent := range []int32{10, 50, 100, 0, 100, 0} {
		// A share of 0 without a tag: the revision's instance is let go and, in
		// the next round, needed again while it may still be draining.
		s.Traffic = []*runpb.TrafficTarget{pin("moving-v1", 100-percent, ""), pin("moving-v2", percent, "")}
		s = mustUpdate(t, c, s)
	}
	requests, failed := stop()
	if failed != 0 || requests < 50 {
		t.Errorf("%d of %d requests failed", failed, requests)
	}
	t.Logf("%d requests", requests)
}

func TestServiceOutlivesACrash(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	s := create(t, c, "crashing", &runpb.Service{Template: template("crashing-v1")})
	before := c.get(t, s.GetUri())
	if code := c.fetch(t, s.GetUri()+"/crash", nil); code != http.StatusBadGateway {
		t.Errorf("a request that ended its instance got %d, want %d", code, http.StatusBadGateway)
	}
	// Requests that the ending process has still taken are lost with it; those
	// that come later wait for the next one.
	var after fleettest.Reply
	for c.fetch(t, s.GetUri(), &after) != http.StatusOK {
		if t.Context().Err() != nil {
			t.Fatal("nobody answers after the crash")
		}
	}
	if after.PID == before.PID || after.Revision != "crashing-v1" {
		t.Errorf("after the crash %+v answered, before it %+v", after, before)
	}
}
