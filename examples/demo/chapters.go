package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	project = "local-dev"
	region  = "us-central1"
	name    = "demo" // of the service and the endpoint
)

func (s *story) measureStart(ctx context.Context) error {
	if err := os.MkdirAll(s.project(), 0o755); err != nil {
		return err
	}
	best := time.Hour // of several: the first one reads the program from the disk
	for range 5 {
		began := time.Now()
		if err := s.command(ctx, "version").Run(); err != nil {
			return err
		}
		best = min(best, time.Since(began))
	}
	s.VersionMillis = best.Milliseconds()
	s.say("`tftctl version` takes %d ms%s", s.VersionMillis, promised(best, slowestVersion))
	return nil
}

func (s *story) localUp(ctx context.Context) error {
	if err := s.tftctl(ctx, &s.cloud, "local", "up", "--dir", s.cloudDir(), "--detach"); err != nil {
		return err
	}
	s.say("control plane %s, services %s, process %d", s.cloud.URL, s.cloud.FrontURL, s.cloud.PID)
	var err error
	s.calls, err = dial(ctx, s.cloud)
	return err
}

func (s *story) init(ctx context.Context) error {
	return s.tftctl(ctx, nil, "init", "--name", name)
}

func (s *story) pushFirst(ctx context.Context) error  { return s.push(ctx, 1) }
func (s *story) pushSecond(ctx context.Context) error { return s.push(ctx, 2) }

func (s *story) push(ctx context.Context, version int) error {
	var pushed struct {
		Version int    `json:"version"`
		Digest  string `json:"digest"`
		Bytes   int    `json:"bytes"`
	}
	dir := filepath.Join(s.Models, "models", fmt.Sprintf("v%d", version))
	if err := s.tftctl(ctx, &pushed, "model", "push", dir); err != nil {
		return err
	}
	if pushed.Version != version {
		return fmt.Errorf("it became version %d, want %d", pushed.Version, version)
	}
	s.say("forecast@%d, %d KiB, %s", version, pushed.Bytes>>10, pushed.Digest)
	if version > 1 {
		return nil
	}
	s.ModelDigest = pushed.Digest
	var err error
	s.ModelSHA256, err = s.fileDigest(ctx, "forecast@1", "model.onnx")
	return err
}

// fileDigest returns the SHA-256 of a file of a version, as tftctl has it.
func (s *story) fileDigest(ctx context.Context, ref, path string) (string, error) {
	var shown struct {
		Manifest struct {
			Files []struct {
				Path   string `json:"path"`
				SHA256 string `json:"sha256"`
			} `json:"files"`
		} `json:"manifest"`
	}
	if err := s.tftctl(ctx, &shown, "model", "show", ref); err != nil {
		return "", err
	}
	for _, f := range shown.Manifest.Files {
		if f.Path == path {
			return f.SHA256, nil
		}
	}
	return "", fmt.Errorf("%s has no %s", ref, path)
}

func (s *story) deployFirst(ctx context.Context) error {
	if err := s.tftctl(ctx, nil, "deploy", "--model", "forecast@1", "--strategy", "all", "--auto-approve"); err != nil {
		return err
	}
	return s.measureServer()
}

// promised says how took compares with what is promised for two quiet cores. A
// busy machine is no defect, so it does not fail the demo.
func promised(took, most time.Duration) string {
	if took > most {
		return fmt.Sprintf(" (SLOWER than the %s promised on two quiet cores)", most)
	}
	return fmt.Sprintf(" (promised: at most %s)", most)
}

// measureServer reads how long each instance took from its start until it was
// ready, as it logged itself.
func (s *story) measureServer() error {
	logs, err := filepath.Glob(filepath.Join(s.cloudDir(), "logs", "*.log"))
	if err != nil {
		return err
	}
	for _, path := range logs {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, line := range slices.Collect(lines(content)) {
			var entry struct {
				Message string  `json:"message"`
				Millis  float64 `json:"ms"`
			}
			if json.Unmarshal(line, &entry) == nil && entry.Message == "ready" {
				s.StartMillis = max(s.StartMillis, entry.Millis)
			}
		}
	}
	if s.StartMillis == 0 {
		return fmt.Errorf("no instance has logged that it was ready")
	}
	took := time.Duration(s.StartMillis * float64(time.Millisecond))
	s.say("tftserve was ready %.0f ms after its start, model fetched, verified and tried%s", s.StartMillis, promised(took, slowestStart))
	return nil
}

func (s *story) startStream(ctx context.Context) error {
	body, err := os.ReadFile(filepath.Join(s.Models, "models", "v1", "sample.json"))
	if err != nil {
		return err
	}
	s.flow, err = startStream(ctx, s.calls, body)
	return err
}

func (s *story) goldenRun(ctx context.Context) error    { return s.golden(ctx, s.calls.run) }
func (s *story) goldenVertex(ctx context.Context) error { return s.golden(ctx, s.calls.vertex) }

func (s *story) golden(ctx context.Context, ask asker) error {
	checked, worst, err := checkGolden(ctx, filepath.Join(s.Models, "golden.json"), ask)
	if err != nil {
		return err
	}
	s.GoldenChecked, s.GoldenMaxError = checked, max(s.GoldenMaxError, worst)
	s.say("%d answers, at most %.1e standard deviations from PyTorch's", checked, worst)
	if worst > mostGolden {
		return fmt.Errorf("an answer is %.1e standard deviations off, more than %.0e", worst, mostGolden)
	}
	return nil
}

func (s *story) forecast(ctx context.Context) error {
	return s.show(ctx, "predict", filepath.Join(s.Models, "models", "v1", "sample.json"))
}

func (s *story) canary(ctx context.Context) error {
	err := s.tftctl(ctx, nil, "deploy", "--model", "forecast@2", "--strategy", "canary", "--steps", "10", "--hold", "--auto-approve")
	if err != nil {
		return err
	}
	return s.show(ctx, "traffic", "show")
}

// enough is how many answers of each target the split is judged by: with 300,
// a share of 10 % stays between 4 and 18 % but once in ten thousand times.
const enough = 300

func (s *story) seeSplit(ctx context.Context) error {
	for target, counted := range s.flow.watch(ctx, enough) {
		share := 100 * float64(counted["v2"]) / float64(counted["v1"]+counted["v2"])
		s.say("%-6s  v1 answered %d, v2 %d: %.0f %%", target, counted["v1"], counted["v2"], share)
		if share < 4 || share > 18 {
			return fmt.Errorf("%s: version 2 answers %.0f %% where 10 %% were set", target, share)
		}
	}
	differ, err := s.calls.answersDiffer(ctx, filepath.Join(s.Models, "golden.json"))
	if err != nil {
		return err
	}
	s.say("the two versions answer one question up to %.1f percentage points apart", differ)
	if differ == 0 {
		return fmt.Errorf("both versions give the same answers: they are the same model")
	}
	return ctx.Err()
}

func (s *story) promote(ctx context.Context) error {
	if err := s.tftctl(ctx, nil, "rollout", "promote"); err != nil {
		return err
	}
	return s.onlyAnswers(ctx, "v2")
}

func (s *story) rollback(ctx context.Context) error {
	began := time.Now()
	if err := s.tftctl(ctx, nil, "rollback", "--reason", "the demo says so"); err != nil {
		return err
	}
	took := time.Since(began)
	s.RollbackMillis = took.Milliseconds()
	s.say("back after %d ms%s", s.RollbackMillis, promised(took, slowestRollback))
	return s.onlyAnswers(ctx, "v1")
}

// onlyAnswers checks that one version gives all answers from now on.
func (s *story) onlyAnswers(ctx context.Context, version string) error {
	for target, counted := range s.flow.watch(ctx, 20) {
		if len(counted) != 1 || counted[version] == 0 {
			return fmt.Errorf("%s: %v answered after all traffic was given to %s", target, counted, version)
		}
		s.say("%-6s  every answer comes from %s", target, version)
	}
	return ctx.Err()
}

func (s *story) history(ctx context.Context) error { return s.show(ctx, "history") }

// count ends the stream and holds its counts against the front's own log.
func (s *story) count(ctx context.Context) error {
	if err := s.flow.reach(ctx, leastRequests); err != nil {
		return err
	}
	s.flow.stop()
	s.Requests, s.Failed, s.RequestsBy = s.flow.totals()
	logged, err := countLog(filepath.Join(s.cloudDir(), "front.ndjson"))
	if err != nil {
		return err
	}
	for _, n := range logged {
		s.FrontLogRequests += n
	}
	s.say("sent %d, failed %d, by version %v; the front logged %v", s.Requests, s.Failed, s.RequestsBy, logged)
	if s.Failed > 0 {
		return fmt.Errorf("%d requests failed: %w", s.Failed, s.flow.firstError())
	}
	for version, n := range s.RequestsBy {
		if logged[version] != n {
			return fmt.Errorf("the front's log has %d answers of %s, the stream %d", logged[version], version, n)
		}
	}
	if s.FrontLogRequests != s.Requests {
		return fmt.Errorf("the front's log has %d requests of the stream, which sent %d", s.FrontLogRequests, s.Requests)
	}
	return nil
}

func (s *story) undeploy(ctx context.Context) error {
	return s.tftctl(ctx, nil, "undeploy", "--auto-approve")
}

func (s *story) down(ctx context.Context) error {
	if err := s.tftctl(ctx, nil, "local", "down", "--dir", s.cloudDir()); err != nil {
		return err
	}
	if syscall.Kill(s.cloud.PID, 0) == nil {
		return fmt.Errorf("process %d of the local cloud still runs", s.cloud.PID)
	}
	return s.nothingLeft()
}
