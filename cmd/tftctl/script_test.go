package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tftctl/tftctl/deploy"
	"github.com/tftctl/tftctl/deploy/deploytest"
	"github.com/tftctl/tftctl/pkg/gcp"
	"github.com/tftctl/tftctl/pkg/model"
)

func TestMain(m *testing.M) {
	if deploytest.Plays() { // before testscript copies this binary into a PATH
		os.Exit(deploytest.Main(m))
	}
	testscript.Main(m, map[string]func(){"tftctl": main})
}

// TestScripts runs testdata/*.txtar, what a user sees. Besides testscript's own
// commands and tftctl they have
//
//	cloud [v1=90,v2=10]   start a local cloud; with a split, push and deploy these versions
//	bundle DIR [TEXT...]  write a model bundle; TEXT tells one from another
//	exits N COMMAND...    run COMMAND and expect exit code N
//	json [PATH=REGEXP...] expect standard output to be one JSON object with these fields
//	start REGEXP COMMAND... run COMMAND until a line of its standard error matches, and leave it running
//	signal NAME N         send it INT or TERM and expect exit code N
//	foreign SERVICE       make a Cloud Run service that is not tftctl's
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, ".state")
			env.Setenv("XDG_STATE_HOME", home)
			env.Values[started{}] = new(*exec.Cmd)
			env.Defer(func() { kill(filepath.Join(home, "tftctl", "local", "local.json")) })
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"cloud": cmdCloud, "bundle": cmdBundle, "exits": cmdExits, "json": cmdJSON, "start": cmdStart, "signal": cmdSignal, "foreign": cmdForeign,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// project is what a script has that brings no tftctl.yaml.
const project = `schema: tftctl/v1
name: shop
bucket: gs://shop-models
targets:
  cloud_run: {}
`

func cmdCloud(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: cloud [v1=90,v2=10]")
	}
	address, stop, err := deploytest.Start(ts.MkAbs(".cloud"))
	ts.Check(err)
	ts.Defer(func() {
		if err := stop(); err != nil {
			ts.Logf("the local cloud ended: %v", err)
		}
	})
	ts.Setenv("TFTCTL_ENDPOINT_OVERRIDE", "http://"+address)
	ts.Setenv("CLOUD_PORT", address[strings.LastIndexByte(address, ':')+1:])
	if file := ts.MkAbs("tftctl.yaml"); !exists(file) {
		ts.Check(os.WriteFile(file, []byte(project), 0o644))
	}
	if len(args) == 0 {
		return
	}
	split, err := deploy.ParseSplit(args[0])
	ts.Check(err)
	strategy := "all"
	for part := range strings.SplitSeq(args[0], ",") {
		v, _, _ := strings.Cut(part, "=")
		writeBundle(ts, ts.MkAbs(filepath.Join(".cloud", v)), v)
		ts.Check(ts.Exec("tftctl", "model", "push", filepath.Join(".cloud", v), "--version", strings.TrimPrefix(v, "v")))
		ts.Check(ts.Exec("tftctl", "deploy", "--model", "forecast@"+v, "--strategy", strategy, "--auto-approve"))
		strategy = "dark"
	}
	ts.Check(ts.Exec("tftctl", "traffic", "set", split.String()))
}

// kill ends the local cloud that a script which failed has left running.
func kill(file string) {
	content, err := os.ReadFile(file)
	if err != nil {
		return // none was started
	}
	var local struct{ PID int }
	if json.Unmarshal(content, &local) == nil && local.PID > 0 {
		syscall.Kill(local.PID, syscall.SIGKILL)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func cmdBundle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: bundle DIR [TEXT...]")
	}
	writeBundle(ts, ts.MkAbs(args[0]), strings.Join(args[1:], " "))
}

// writeBundle writes a bundle whose model is no model: what plays the server
// does not load it.
func writeBundle(ts *testscript.TestScript, dir, text string) {
	ts.Check(os.MkdirAll(dir, 0o755))
	m := model.Manifest{Schema: model.ManifestSchema, Name: "forecast", Model: "model.onnx"}
	for _, f := range []struct{ path, content string }{
		{"model.onnx", "a model: " + text},
		{"sample.json", `{"instances":[{"x":[1]}]}`},
		{"schema.json", `{"schema":"tftctl/model-schema/v1","inputs":[{"name":"x","dtype":"float32","shape":[1]}],"outputs":[{"name":"y","dtype":"float32","shape":[1],"unit":"%"}]}`},
	} {
		ts.Check(os.WriteFile(filepath.Join(dir, f.path), []byte(f.content), 0o644))
		m.Files = append(m.Files, model.File{Path: f.path, Bytes: int64(len(f.content)), SHA256: model.DigestOf([]byte(f.content)).Hex()})
	}
	content, err := json.MarshalIndent(m, "", "  ")
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(dir, model.ManifestFile), content, 0o644))
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", strings.Join(args[1:], " "), err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: json [PATH=REGEXP...]")
	}
	d := json.NewDecoder(bytes.NewReader([]byte(ts.ReadFile("stdout"))))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		ts.Fatalf("standard output is no JSON object: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		ts.Fatalf("standard output holds more than one JSON object")
	}
	for _, arg := range args {
		path, want, found := strings.Cut(arg, "=")
		if !found {
			ts.Fatalf("%q is not PATH=REGEXP", arg)
		}
		form, err := regexp.Compile("^(?s:" + want + ")$")
		ts.Check(err)
		if got := textAt(object, path); !form.MatchString(got) {
			ts.Fatalf("%s is %q, want %s", path, got, want)
		}
	}
}

// started is the key of the command that start left running.
type started struct{}

// cmdStart waits for what a command says, so nobody has to guess how long it takes.
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start REGEXP COMMAND...")
	}
	form, err := regexp.Compile(args[0])
	ts.Check(err)
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = os.Environ()
	for _, name := range []string{"HOME", "TMPDIR", "XDG_STATE_HOME", "TFTCTL_ENDPOINT_OVERRIDE"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	said, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		cmd.Process.Kill() // where signal was not reached; else it is gone
		cmd.Wait()
	})
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		ts.Logf("%s", lines.Text())
		if form.MatchString(lines.Text()) {
			*ts.Value(started{}).(**exec.Cmd) = cmd
			go io.Copy(io.Discard, said) // it must not wait for a reader
			return
		}
	}
	ts.Fatalf("%s ended and never said %s", strings.Join(args[1:], " "), args[0])
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal NAME N")
	}
	cmd := *ts.Value(started{}).(**exec.Cmd)
	s, ok := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM}[args[0]]
	if cmd == nil || !ok {
		ts.Fatalf("signal %s: no such signal, or nothing was started", args[0])
	}
	ts.Check(cmd.Process.Signal(s))
	err := cmd.Wait()
	if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("%s: exit code %s after %s, want %s (%v)", cmd, got, args[0], args[1], err)
	}
}

// textAt returns what stands at a dotted path in v: a text or number as it is,
// anything else as JSON, "" where there is nothing.
func textAt(v any, path string) string {
	for step := range strings.SplitSeq(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			n, err := strconv.Atoi(step)
			if err != nil || n >= len(at) {
				return ""
			}
			v = at[n]
		default:
			return ""
		}
	}
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	content, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

func cmdForeign(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: foreign SERVICE")
	}
	place := gcp.Endpoint{
		Address: strings.TrimPrefix(ts.Getenv("TFTCTL_ENDPOINT_OVERRIDE"), "http://"), Project: "local-dev", Region: "us-central1",
	}
	ctx := context.Background()
	opts, err := place.Options(ctx, "run")
	ts.Check(err)
	services, err := run.NewServicesClient(ctx, opts...)
	ts.Check(err)
	defer services.Close()
	op, err := services.CreateService(ctx, &runpb.CreateServiceRequest{
		Parent: place.Parent(), ServiceId: args[0],
		Service: &runpb.Service{Template: &runpb.RevisionTemplate{Containers: []*runpb.Container{{Image: "somebody/elses:1"}}}},
	})
	ts.Check(err)
	ts.Check(gcp.WaitOperation(ctx, services, op.Name()))
}
