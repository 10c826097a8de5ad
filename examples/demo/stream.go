package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"google.golang.org/protobuf/encoding/protojson"
)

// streamAgent is what the stream's requests call themselves.
const streamAgent = agent + "-stream"

// pace is the time between two requests to one target.
const pace = 25 * time.Millisecond

// stream is a steady flow of requests to each target.
type stream struct {
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond                // more was answered, or the stream has ended
	counts  map[string]map[string]int // target → version → answers
	failed  int
	first   error
}

func startStream(ctx context.Context, k *calls, body []byte) (*stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	f := &stream{cancel: cancel, counts: map[string]map[string]int{"run": {}, "vertex": {}}}
	f.changed = sync.NewCond(&f.mu)
	req := &aiplatformpb.PredictRequest{}
	if err := protojson.Unmarshal(body, req); err != nil {
		cancel()
		return nil, err
	}
	req.Endpoint = parent() + "/endpoints/" + name
	f.flow(ctx, "run", func(ctx context.Context) (string, error) {
		_, version, err := k.run(ctx, streamAgent, body)
		return version, err
	})
	f.flow(ctx, "vertex", func(ctx context.Context) (string, error) {
		_, version, err := k.predict(ctx, streamAgent, req)
		return version, err
	})
	return f, nil
}

// flow sends one request after the other, at the stream's pace, until ctx
// ends. The last one is waited for: it counts too.
func (f *stream) flow(ctx context.Context, target string, send func(context.Context) (string, error)) {
	f.ended.Go(func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				f.changed.Broadcast()
				return
			case <-tick.C:
			}
			one, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			version, err := send(one)
			cancel()
			f.note(target, version, err)
		}
	})
}

func (f *stream) note(target, version string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.failed++
		if f.first == nil {
			f.first = fmt.Errorf("%s: %w", target, err)
		}
	} else {
		f.counts[target][version]++
	}
	f.changed.Broadcast()
}

// watch waits for n more answers of each target and returns who gave them.
func (f *stream) watch(ctx context.Context, n int) map[string]map[string]int {
	stop := context.AfterFunc(ctx, f.changed.Broadcast)
	defer stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	// The requests that are under way were routed before now: leave out one each.
	before := f.copy()
	skipped := map[string]map[string]int{}
	out := map[string]map[string]int{}
	for ctx.Err() == nil && len(out) < len(f.counts) {
		for target, counts := range f.counts {
			if out[target] != nil {
				continue
			}
			if skipped[target] == nil {
				if sum(counts) > sum(before[target]) {
					skipped[target] = maps.Clone(counts)
				}
				continue
			}
			if sum(counts)-sum(skipped[target]) >= n {
				out[target] = minus(counts, skipped[target])
			}
		}
		if len(out) < len(f.counts) {
			f.changed.Wait()
		}
	}
	return out
}

// reach waits until n requests were answered in all.
func (f *stream) reach(ctx context.Context, n int) error {
	stop := context.AfterFunc(ctx, f.changed.Broadcast)
	defer stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for ctx.Err() == nil && sum(f.counts["run"])+sum(f.counts["vertex"]) < n {
		f.changed.Wait()
	}
	return ctx.Err()
}

func (f *stream) copy() map[string]map[string]int {
	out := map[string]map[string]int{}
	for target, counts := range f.counts {
		out[target] = maps.Clone(counts)
	}
	return out
}

func sum(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

func minus(a, b map[string]int) map[string]int {
	out := map[string]int{}
	for k, n := range a {
		if n > b[k] {
			out[k] = n - b[k]
		}
	}
	return out
}

// stop ends the stream once its last requests are answered.
func (f *stream) stop() {
	f.cancel()
	f.ended.Wait()
}

// totals returns what was sent, what failed, and who answered.
func (f *stream) totals() (requests, failed int, byVersion map[string]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	byVersion = map[string]int{}
	for _, counts := range f.counts {
		for version, n := range counts {
			byVersion[version] += n
			requests += n
		}
	}
	return requests + f.failed, f.failed, byVersion
}

func (f *stream) firstError() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first
}

// countLog returns how many requests of the stream the front's log has, by
// the version that answered.
func countLog(path string) (map[string]int, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for line := range lines(content) {
		var entry struct {
			Agent   string `json:"agent"`
			Status  int    `json:"status"`
			Release string `json:"release"`
		}
		if err := json.Unmarshal(line, &entry); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if !strings.Contains(entry.Agent, streamAgent) {
			continue
		}
		if entry.Status != 200 {
			return nil, fmt.Errorf("the front's log has a status %d", entry.Status)
		}
		out[versionOf(entry.Release)]++
	}
	return out, nil
}
