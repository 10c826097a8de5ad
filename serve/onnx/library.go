// Package onnx is an ONNX Runtime session; the only package with cgo.
package onnx

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/tftctl/tftctl/pkg/fault"
)

// What the binding asks of the library: its C API has version 24.
const needMajor, needMinor = 1, 24

// Load loads ONNX Runtime's library from path, an absolute or relative path of
// libonnxruntime.so.1, and returns its version. A process has one library: a
// later call returns the version of the first. Call it from one goroutine.
//
// Errors: Invalid where there is no library of version 1.24 or later.
func Load(path string) (version string, err error) {
	if ort.IsInitialized() {
		return ort.GetVersion(), nil
	}
	// The Linux library of 1.30 sends usage data home unless told not to. The
	// variable keeps it from starting to, so it is set before the library runs.
	if err := os.Setenv("ORT_DISABLE_TELEMETRY", "1"); err != nil {
		return "", fmt.Errorf("turn ONNX Runtime's telemetry off: %w", err)
	}
	refuse := func(err error, why string) error {
		return fault.Wrap(fault.Invalid, err, "ONNX Runtime's library %s %s", path, why).
			WithHint("get it with third_party/onnxruntime/fetch.sh bin, then name it with --ort-library or TFT_ORT_LIBRARY")
	}
	if _, err := os.Stat(path); err != nil {
		return "", refuse(err, "is not there")
	}
	if !strings.Contains(path, "/") {
		path = "./" + path // or the loader would search the system's folders for it
	}
	ort.SetSharedLibraryPath(path)
	// What goes wrong comes back as an error; lines of its own would only break
	// the log's form.
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return "", refuse(err, fmt.Sprintf("cannot be loaded: it is no ONNX Runtime, or older than %d.%d", needMajor, needMinor))
	}
	if err := ort.DisableTelemetry(); err != nil {
		return "", fmt.Errorf("turn ONNX Runtime's telemetry off: %w", err)
	}
	version = ort.GetVersion()
	if !recent(version) {
		return "", refuse(nil, fmt.Sprintf("has version %s, want %d.%d or later", version, needMajor, needMinor))
	}
	return version, nil
}

// Unload frees the library. No Session may be open, and none can be opened
// until Load is called again.
func Unload() error {
	if !ort.IsInitialized() {
		return nil
	}
	if err := ort.DestroyEnvironment(); err != nil {
		return fmt.Errorf("unload ONNX Runtime: %w", err)
	}
	return nil
}

// recent tells whether version, such as "1.30.0", is at least the needed one.
func recent(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	return errA == nil && errB == nil && (a > needMajor || a == needMajor && b >= needMinor)
}
