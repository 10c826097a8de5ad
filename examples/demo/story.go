package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options say where things are.
type Options struct {
	Bin    string // folder of tftctl and tftserve
	Models string // folder with models/v1, models/v2, golden.json
	Result string // file for the Result
	Out    io.Writer
}

// Result is what the demo found, as it stands in bin/demo.json.
type Result struct {
	OK               bool           `json:"ok"`
	Steps            []StepResult   `json:"steps"`
	GoldenChecked    int            `json:"golden_checked"`   // requests, each at Cloud Run and at Vertex AI
	GoldenMaxError   float64        `json:"golden_max_error"` // in standard deviations of the output
	Requests         int            `json:"requests"`         // of the stream
	RequestsBy       map[string]int `json:"requests_by_version"`
	Failed           int            `json:"failed_requests"`
	RollbackMillis   int64          `json:"rollback_ms"`
	VersionMillis    int64          `json:"tftctl_version_ms"`
	StartMillis      float64        `json:"tftserve_start_to_ready_ms"` // the slowest of all instances
	ModelSHA256      string         `json:"model_sha256"`               // of version 1's ONNX file, 64 hexadecimal digits
	ModelDigest      string         `json:"model_digest"`               // of version 1's manifest, which covers all its files
	FrontLogRequests int            `json:"front_log_requests"`         // of the stream, by the front's own log
}

// StepResult is one step of the story.
type StepResult struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Millis int64  `json:"ms"`
}

// What the demo promises. It fails when answers are wrong or lost; times depend
// on the machine, and are said.
const (
	leastRequests   = 1000
	mostGolden      = 1e-4 // standard deviations of the output
	slowestVersion  = 60 * time.Millisecond
	slowestStart    = 500 * time.Millisecond
	slowestRollback = 2 * time.Second
)

// story is one telling.
type story struct {
	Options
	Result
	work  string // temporary folder: the project and the cloud's state
	cloud cloud
	calls *calls
	flow  *stream
}

// Run tells the story and writes the result, also when it fails.
func Run(ctx context.Context, o Options) error {
	for _, path := range []*string{&o.Bin, &o.Models, &o.Result} {
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = abs
	}
	work, err := os.MkdirTemp("", "tftctl-demo-")
	if err != nil {
		return err
	}
	s := &story{Options: o, work: work}
	began := time.Now()
	err = s.tell(ctx)
	err = errors.Join(err, s.cleanUp())
	s.OK = err == nil
	if err == nil {
		fmt.Fprintf(s.Out, "\nDone in %.1f s: %d requests, %d failed, rollback in %d ms. Details: %s\n",
			time.Since(began).Seconds(), s.Requests, s.Failed, s.RollbackMillis, o.Result)
	}
	content, jsonErr := json.Marshal(s.Result)
	if jsonErr != nil {
		return errors.Join(err, jsonErr)
	}
	return errors.Join(err, os.WriteFile(o.Result, append(content, '\n'), 0o644))
}

func (s *story) tell(ctx context.Context) error {
	chapters := []struct {
		name string
		what string
		tell func(context.Context) error
	}{
		{"start", "How quick is the command line?", s.measureStart},
		{"local up", "A Google Cloud on this machine: the same APIs, real processes behind them", s.localUp},
		{"init", "A project: one file", s.init},
		{"push v1", "A trained Temporal Fusion Transformer becomes version 1", s.pushFirst},
		{"deploy v1", "One release to Cloud Run and to Vertex AI", s.deployFirst},
		{"stream", "From here on a steady stream of requests to both", s.startStream},
		{"golden run", "Cloud Run answers what PyTorch answered", s.goldenRun},
		{"golden vertex", "Vertex AI answers what PyTorch answered", s.goldenVertex},
		{"forecast", "A forecast to look at", s.forecast},
		{"push v2", "Another model becomes version 2", s.pushSecond},
		{"canary 10 %", "Version 2 gets a tenth of the traffic, on both", s.canary},
		{"split", "The split, seen in real answers", s.seeSplit},
		{"promote", "Version 2 gets everything", s.promote},
		{"rollback", "Three in the morning: back to version 1", s.rollback},
		{"history", "What happened, and who did it", s.history},
		{"count", "No request was lost, by the front's own log", s.count},
		{"undeploy", "Everything that was deployed is removed", s.undeploy},
		{"down", "The cloud is switched off", s.down},
	}
	for i, c := range chapters {
		fmt.Fprintf(s.Out, "\n%2d. %s\n", i+1, c.what)
		began := time.Now()
		err := c.tell(ctx)
		took := time.Since(began)
		s.Steps = append(s.Steps, StepResult{c.name, err == nil, took.Milliseconds()})
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintf(s.Out, "    %s, %d ms\n", c.name, took.Milliseconds())
	}
	return nil
}

// say prints a line under the present chapter.
func (s *story) say(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		fmt.Fprintf(s.Out, "    %s", line)
	}
	fmt.Fprintln(s.Out)
}

// cleanUp ends what still runs and removes what was written, whatever happened.
func (s *story) cleanUp() error {
	if s.flow != nil {
		s.flow.stop()
	}
	var err error
	if s.calls != nil {
		err = s.calls.close()
	}
	return errors.Join(err, s.cloud.kill(), os.RemoveAll(s.work))
}
