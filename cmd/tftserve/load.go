package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/gcp"
	"github.com/tftctl/tftctl/pkg/gcs"
	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/pkg/registry"
	"github.com/tftctl/tftctl/serve"
	"github.com/tftctl/tftctl/serve/onnx"
	"github.com/tftctl/tftctl/serve/predict"
	"github.com/tftctl/tftctl/serve/tensor"
	"github.com/tftctl/tftctl/serve/vertexapi"
	"github.com/tftctl/tftctl/serve/worker"
)

// loaded is a model that has answered its own sample.
type loaded struct {
	served  *predict.Model
	runtime string // ONNX Runtime's version
	worker  *worker.Worker
}

// close frees the model, then the library.
func (l *loaded) close() error { return errors.Join(l.worker.Close(), onnx.Unload()) }

// load fetches the bundle and verifies it, opens its model, and has it answer
// its sample.
func load(ctx context.Context, c serve.Config) (*loaded, error) {
	bundle, runtime, remove, err := prepare(ctx, c)
	if err != nil {
		return nil, err
	}
	defer remove() // ONNX Runtime keeps nothing of the file
	path := filepath.Join(bundle.Dir, filepath.FromSlash(bundle.Manifest.Model))
	w, err := worker.New(bundle.Schema, worker.Options{}, func(in, out []tensor.Rows) (worker.Runtime, error) {
		return onnx.Open(path, bundle.Schema, in, out)
	})
	if err != nil {
		return nil, errors.Join(err, onnx.Unload())
	}
	l := &loaded{
		served: &predict.Model{
			Name:      bundle.Manifest.Name,
			Version:   c.Release,
			Digest:    bundle.Digest,
			Schema:    bundle.Schema,
			Predictor: w,
		},
		runtime: runtime,
		worker:  w,
	}
	if err := rehearse(ctx, l.served, bundle.Dir); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// prepare gets the verified bundle and the library, which costs about as much,
// at the same time. Remove deletes what was fetched.
func prepare(ctx context.Context, c serve.Config) (bundle *model.Bundle, runtime string, remove func(), err error) {
	remove = func() {}
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		bundle, remove, err = open(ctx, c)
		return err
	})
	both.Go(func() error {
		path, err := library(c.Library)
		if err != nil {
			return err
		}
		runtime, err = onnx.Load(path)
		return err
	})
	if err := both.Wait(); err != nil {
		remove()
		return nil, "", nil, errors.Join(err, onnx.Unload())
	}
	return bundle, runtime, remove, nil
}

// open returns the verified bundle that c names.
func open(ctx context.Context, c serve.Config) (*model.Bundle, func(), error) {
	address, remote := strings.CutPrefix(c.Model, "gs://")
	if !remote {
		b, err := model.OpenBundle(c.Model, c.ModelDigest)
		return b, func() {}, refused(c.Model, err)
	}
	bucket, prefix, _ := strings.Cut(address, "/")
	if bucket == "" {
		return nil, func() {}, fault.Newf(fault.Invalid, "model %q names no bucket", c.Model).WithHint("write gs://bucket/prefix")
	}
	dir, err := os.MkdirTemp("", "tftserve-")
	if err != nil {
		return nil, func() {}, fmt.Errorf("make a folder for the model: %w", err)
	}
	remove := func() { _ = os.RemoveAll(dir) } // what cannot be removed is in the system's temporary folder
	b, err := registry.Fetch(ctx, gcs.Open(gcp.FromEnvironment(), bucket), prefix, c.ModelDigest, dir)
	if err != nil {
		remove()
		return nil, func() {}, refused(c.Model, err)
	}
	return b, remove, nil
}

// refused names the bundle in err. A bundle whose files cannot be read or
// contradict each other is a model to refuse, not a setting to correct.
func refused(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case fault.KindOf(err) == fault.Malformed, fault.KindOf(err) == fault.Invalid:
		hint := fault.HintOf(err)
		if hint == "" {
			hint = "the bundle is damaged: export the model again, and push it as a new version"
		}
		return fault.Newf(fault.Corrupt, "model %s: %w", name, err).WithHint("%s", hint)
	}
	return fmt.Errorf("model %s: %w", name, err)
}

// library returns the path of ONNX Runtime's library: the one that was named,
// or where it usually lies.
func library(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	const file = "libonnxruntime.so.1"
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program's folder: %w", err)
	}
	beside := filepath.Join(filepath.Dir(program), file)
	for _, path := range []string{beside, "/opt/onnxruntime/" + file} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fault.Newf(fault.Invalid, "ONNX Runtime's library %s is neither beside tftserve nor in /opt/onnxruntime", file).
		WithHint("get it with third_party/onnxruntime/fetch.sh bin, then name it with --ort-library or TFT_ORT_LIBRARY")
}

// rehearse has the model answer the sample of its bundle, so that a model that
// loads and cannot compute never becomes ready.
func rehearse(ctx context.Context, m *predict.Model, dir string) error {
	sample, err := os.ReadFile(filepath.Join(dir, model.SampleFile))
	if err != nil {
		return fault.Wrap(fault.Corrupt, err, "the bundle of %s has no %s", m, model.SampleFile).
			WithHint("export the model again: a bundle holds a request that must work")
	}
	if _, err := vertexapi.Predict(ctx, m, sample); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fault.Newf(fault.Corrupt, "%s does not answer its own %s: %w", m, model.SampleFile, err).
			WithHint("export the model again: model, schema and sample do not fit together")
	}
	return nil
}
