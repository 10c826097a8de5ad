package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// watched is how long the program is watched. ONNX Runtime 1.30 with its
// telemetry on looks up Microsoft's collector 9 s after it was loaded, and
// keeps what it will send in a database in the user's cache folder from the
// beginning; both were seen with the same model and the variable unset.
// DisableTelemetry alone, without the variable, stops neither.
const watched = 12 * time.Second

func TestNoConnectionIsTried(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("NOTICE: whether ONNX Runtime phones home was not looked at: strace is missing (apt-get install strace)")
	}
	if out, err := exec.CommandContext(t.Context(), strace, "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("NOTICE: whether ONNX Runtime phones home was not looked at: strace may not trace here: %s", out)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	home := t.TempDir()
	// Whatever a program does to reach another begins with one of these calls;
	// answers to requests are written to accepted sockets with none of them.
	p := launch(t, []string{"HOME=" + home, "XDG_CACHE_HOME=" + filepath.Join(home, "cache")},
		[]string{strace, "-D", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-e", "signal=none", "-o", trace}, "--model", v1())
	p.logs.wait(t, "ready")
	if status, _, text, err := p.predict(t.Context(), bytes.NewReader(sample(t))); err != nil || status != 200 {
		t.Fatalf("status %d, %v: %.200s", status, err, text)
	}
	<-time.After(watched)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil { // to tftserve: -D has strace stand behind it
		t.Fatal(err)
	}
	p.end(t)
	calls, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	if tried := strings.TrimSpace(string(calls)); tried != "" {
		t.Errorf("tftserve reached out:\n%s", tried)
	}
	if left := entries(t, home); len(left) > 0 {
		t.Errorf("something was kept in the home folder: %v", left)
	}
}

// entries returns the paths of all files under dir.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
