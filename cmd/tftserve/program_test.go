package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tftctl/tftctl/pkg/model"
)

// The tests run the real program: the test's own binary, started again.
const asProgram = "TFTSERVE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// patience is how long a test waits for what should take milliseconds.
const patience = 30 * time.Second

// examples is where the example bundles and their golden answers lie.
const examples = "../../examples/tft"

// program is a running tftserve.
type program struct {
	cmd  *exec.Cmd
	url  string
	logs *logs
}

// logs is what a program wrote to stderr.
type logs struct {
	mu    sync.Mutex
	all   bytes.Buffer
	lines chan map[string]any // each line that is a message, until it is full
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

func (l *logs) read(r io.Reader) {
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		l.mu.Lock()
		l.all.Write(append(scan.Bytes(), '\n'))
		l.mu.Unlock()
		var line map[string]any
		if json.Unmarshal(scan.Bytes(), &line) == nil {
			select {
			case l.lines <- line:
			default:
			}
		}
	}
	close(l.lines)
}

// wait returns the next line with the given message.
func (l *logs) wait(t *testing.T, message string) map[string]any {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		select {
		case line, more := <-l.lines:
			if !more {
				t.Fatalf("the program ended before it said %q:\n%s", message, l)
			}
			if line["message"] == message {
				return line
			}
		case <-limit.C:
			t.Fatalf("the program did not say %q:\n%s", message, l)
		}
	}
}

// ortLibrary returns the path of ONNX Runtime's library.
func ortLibrary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("TFT_ORT_LIBRARY")
	if path == "" {
		path = "../../bin/libonnxruntime.so.1"
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v\nhint: run third_party/onnxruntime/fetch.sh bin, or `make test`, which does; or set TFT_ORT_LIBRARY", err)
	}
	return path
}

// command returns the program with nothing in its environment but env.
func command(t *testing.T, env []string, wrap []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	line := append(append(wrap, self), args...)
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.WaitDelay = time.Second // for what it left behind
	cmd.Env = append([]string{asProgram + "=1", "TFT_ORT_LIBRARY=" + ortLibrary(t), "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, env...)
	return cmd
}

// launch starts the program on a free port and returns once it listens.
func launch(t *testing.T, env []string, wrap []string, args ...string) *program {
	t.Helper()
	cmd := command(t, env, wrap, append([]string{"--port", "0"}, args...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{cmd: cmd, logs: &logs{lines: make(chan map[string]any, 1000)}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.logs.read(stderr)
	}()
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			<-read
			cmd.Wait()
		}
		<-read
	})
	p.url = "http://" + p.logs.wait(t, "listening")["address"].(string)
	return p
}

// serving starts the program with the bundle in dir and returns once it is ready.
func serving(t *testing.T, dir string, env ...string) *program {
	t.Helper()
	p := launch(t, env, nil, "--model", dir)
	ready := p.logs.wait(t, "ready")
	t.Logf("start to ready: %v ms", ready["ms"])
	return p
}

// end waits for the program and returns its exit code and how long that took.
func (p *program) end(t *testing.T) (int, time.Duration) {
	t.Helper()
	began := time.Now()
	limit := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	defer limit.Stop()
	for range p.logs.lines { // to its end: Wait closes the pipe
	}
	err := p.cmd.Wait()
	if err != nil && p.cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode(), time.Since(began)
}

// get returns the status of a path.
func (p *program) get(t *testing.T, path string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	got.Body.Close()
	return got.StatusCode
}

// predict posts body and returns the answer's status, header and body.
func (p *program) predict(ctx context.Context, body io.Reader) (int, http.Header, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/predict", body)
	if err != nil {
		return 0, nil, nil, err
	}
	r.Close = true
	r.Header.Set("Content-Type", "application/json")
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	return got.StatusCode, got.Header, text, err
}

// v1 is the folder of the example's first version.
func v1() string { return filepath.Join(examples, "models", "v1") }

// sample is a request body that must work.
func sample(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(v1(), model.SampleFile))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rewrite copies the bundle in dir with one file changed. The manifest fits the
// change where sign is set, and so the digests hold.
func rewrite(t *testing.T, dir, file string, sign bool, change func([]byte) []byte) string {
	t.Helper()
	out := t.TempDir()
	if err := os.CopyFS(out, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	edit := func(name string, change func([]byte) []byte) []byte {
		path := filepath.Join(out, name)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		content = change(content)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return content
	}
	changed := edit(file, change)
	if !sign {
		return out
	}
	edit(model.ManifestFile, func(content []byte) []byte {
		var m model.Manifest
		if err := json.Unmarshal(content, &m); err != nil {
			t.Fatal(err)
		}
		for i := range m.Files {
			if m.Files[i].Path == file {
				m.Files[i].Bytes, m.Files[i].SHA256 = int64(len(changed)), model.DigestOf(changed).Hex()
			}
		}
		content, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return content
	})
	return out
}

// replace is a change of text.
func replace(was, is string) func([]byte) []byte {
	return func(b []byte) []byte { return []byte(strings.Replace(string(b), was, is, 1)) }
}
