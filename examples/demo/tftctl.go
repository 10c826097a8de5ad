package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// tftctl runs a command of tftctl in the project, as a pipeline would, and
// decodes its data into result, which may be nil.
func (s *story) tftctl(ctx context.Context, result any, args ...string) error {
	s.say("$ tftctl %s", strings.Join(args, " "))
	out, err := s.command(ctx, append([]string{"-o", "json"}, args...)...).Output()
	var answer struct {
		OK      bool            `json:"ok"`
		Kind    string          `json:"kind"`
		Message string          `json:"message"`
		Hint    string          `json:"hint"`
		Data    json.RawMessage `json:"data"`
	}
	if jsonErr := json.Unmarshal(out, &answer); jsonErr != nil {
		return errors.Join(err, fmt.Errorf("the answer %q is no JSON: %w", out, jsonErr))
	}
	if !answer.OK || err != nil {
		return fmt.Errorf("%s: %s (%s)", answer.Kind, answer.Message, answer.Hint)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(answer.Data, result)
}

// show runs a command of tftctl and prints what a person would see.
func (s *story) show(ctx context.Context, args ...string) error {
	s.say("$ tftctl %s", strings.Join(args, " "))
	var stdout, stderr bytes.Buffer
	cmd := s.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, stderr.String())
	}
	s.say("%s", strings.TrimRight(stdout.String(), "\n"))
	return nil
}

func (s *story) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.Bin, "tftctl"), append([]string{"-C", s.project(), "--no-input"}, args...)...)
	cmd.Env = s.environment()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it closes its journal first
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func (s *story) project() string  { return filepath.Join(s.work, "project") }
func (s *story) cloudDir() string { return filepath.Join(s.work, "cloud") }

// environment is this process's without what would point elsewhere.
func (s *story) environment() []string {
	var env []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "TFT") && !strings.HasPrefix(name, "GOOGLE_") && name != "STORAGE_EMULATOR_HOST" {
			env = append(env, e)
		}
	}
	if s.cloud.URL != "" {
		env = append(env, "TFTCTL_ENDPOINT_OVERRIDE="+s.cloud.URL)
	}
	if ort := os.Getenv("TFT_ORT_LIBRARY"); ort != "" {
		env = append(env, "TFT_ORT_LIBRARY="+ort)
	}
	return env
}

// cloud is where the local cloud answers.
type cloud struct {
	Endpoint string `json:"endpoint"`
	URL      string `json:"url"`
	FrontURL string `json:"front_url"`
	PID      int    `json:"pid"`
}

// kill ends a cloud that still runs: its instances die with it.
func (c cloud) kill() error {
	if c.PID == 0 {
		return nil
	}
	if err := syscall.Kill(c.PID, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil // it has ended already
}
