package main

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
)

// nothingLeft looks for processes that carry the demo's folder in their
// environment or arguments. Where there is no /proc it cannot look, and says so.
func (s *story) nothingLeft() error {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	if len(processes) == 0 {
		s.say("this system has no /proc: processes were not counted")
		return nil
	}
	for _, p := range processes {
		if filepath.Base(p) == fmt.Sprint(os.Getpid()) {
			continue
		}
		for _, file := range []string{"cmdline", "environ"} {
			content, err := os.ReadFile(filepath.Join(p, file))
			if err == nil && bytes.Contains(content, []byte(s.cloudDir())) {
				line, _ := os.ReadFile(filepath.Join(p, "cmdline"))
				return fmt.Errorf("process %s is left: %s", filepath.Base(p), strings.ReplaceAll(string(line), "\x00", " "))
			}
		}
	}
	return nil
}

// lines returns the lines of content without their ends.
func lines(content []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for line := range bytes.Lines(content) {
			if !yield(bytes.TrimRight(line, "\n")) {
				return
			}
		}
	}
}
