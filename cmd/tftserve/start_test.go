package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tftctl/tftctl/pkg/model"
)

func TestStartThatCannotWorkSaysWhyAndWhatToDo(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() }) // after the subtests, which run when this function has returned
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	for name, c := range map[string]struct {
		args []string
		env  []string
		exit int
		want string
	}{
		"port taken":                    {args: []string{"--model", v1(), "--port", port}, exit: 3, want: "port " + port + " on 127.0.0.1 is taken"},
		"no model named":                {exit: 3, want: "no model is named"},
		"no such folder":                {args: []string{"--model", "/nowhere"}, exit: 3, want: "no model bundle in /nowhere"},
		"no manifest":                   {args: []string{"--model", t.TempDir()}, exit: 3, want: "holds no manifest.json"},
		"no bucket":                     {args: []string{"--model", "gs://"}, exit: 3, want: "names no bucket"},
		"bad setting":                   {args: []string{"--model", v1()}, env: []string{"PORT=http"}, exit: 3, want: `port \"http\" is not a number`},
		"library missing":               {args: []string{"--model", v1(), "--ort-library", "/nowhere/libonnxruntime.so.1"}, exit: 3, want: "is not there"},
		"digest mismatch":               {args: []string{"--model", v1()}, env: []string{"TFT_MODEL_DIGEST=" + string(model.DigestOf(nil))}, exit: 5, want: "has digest"},
		"model truncated":               {args: []string{"--model", rewrite(t, v1(), "model.onnx", false, half)}, exit: 5, want: "model.onnx: its size is not the manifest's"},
		"model changed":                 {args: []string{"--model", rewrite(t, v1(), "model.onnx", false, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })}, exit: 5, want: "its SHA-256 digest is not the manifest's"},
		"truncated model, digests hold": {args: []string{"--model", rewrite(t, v1(), "model.onnx", true, half)}, exit: 5, want: "is not a model that ONNX Runtime"},
		"schema of another model":       {args: []string{"--model", rewrite(t, v1(), model.SchemaFile, true, replace("encoder_cont", "encoder_real"))}, exit: 5, want: "is not the model that schema.json describes"},
		"schema is no JSON":             {args: []string{"--model", rewrite(t, v1(), model.SchemaFile, true, half)}, exit: 5, want: "schema.json"},
		"manifest is no JSON":           {args: []string{"--model", rewrite(t, v1(), model.ManifestFile, false, half)}, exit: 5, want: "manifest.json"},
		"sample that does not work":     {args: []string{"--model", rewrite(t, v1(), model.SampleFile, true, replace(`"encoder_cont"`, `"encoder"`))}, exit: 5, want: "does not answer its own sample.json"},
	} {
		for _, check := range []bool{false, true} {
			if check && name == "port taken" {
				continue // nothing listens to check a model
			}
			args := append([]string{"--port", "0"}, c.args...)
			if len(c.env) > 0 && strings.HasPrefix(c.env[0], "PORT=") {
				args = c.args // a flag would win
			}
			if check {
				name, args = name+", --check", append(args, "--check")
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				cmd := command(t, c.env, nil, args...)
				var stdout, stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
				err := cmd.Run()
				if got := cmd.ProcessState.ExitCode(); got != c.exit {
					t.Errorf("exit %d (%v), want %d", got, err, c.exit)
				}
				if !strings.Contains(stderr.String(), c.want) {
					t.Errorf("stderr does not say %q:\n%s", c.want, stderr.String())
				}
				if !strings.Contains(stderr.String(), `"hint":"`) || strings.Contains(stderr.String(), `"hint":""`) {
					t.Errorf("stderr has no hint:\n%s", stderr.String())
				}
				if strings.Contains(stderr.String(), `"ready"`) || stdout.Len() > 0 {
					t.Errorf("it says that it works: %s%s", stdout.String(), stderr.String())
				}
			})
		}
	}
}

func TestCheckAndVersionAnswerOnStdout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"--check":   {[]string{"--check", "--model", v1()}, "answers its sample with ONNX Runtime 1."},
		"--version": {[]string{"--version"}, "tftserve "},
		"--help":    {[]string{"--help"}, "usage: tftserve"},
	} {
		cmd := command(t, nil, nil, c.args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil || !strings.Contains(string(out), c.want) || stderr.Len() > 0 {
			t.Errorf("%s: %v, stdout %q, stderr %q", name, err, out, stderr.String())
		}
	}
}

func TestLibraryIsFoundBesideTheProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink(ortLibrary(t), filepath.Join(dir, "libonnxruntime.so.1")); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "tftserve")
	// Copied by a program of its own: a descriptor that writes to the file must
	// not be handed on to a child that another test starts at this moment, or
	// the copy is "text file busy".
	if out, err := exec.Command("cp", must(os.Executable()), program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := command(t, []string{"TFT_ORT_LIBRARY="}, nil, "--check", "--model", v1())
	cmd.Path = program
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}
