// Package localcloud is Google Cloud on this machine, as far as releasing a model
// needs it: Cloud Run, Vertex AI, Secret Manager and Cloud Storage behind the
// official clients, with real processes behind their services.
//
// It shares no code with the programs that use it. They meet on the wire, as
// they would meet Google.
package localcloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"

	"github.com/tftctl/tftctl/pkg/localcloud/fleet"
	"github.com/tftctl/tftctl/pkg/localcloud/front"
	"github.com/tftctl/tftctl/pkg/localcloud/ops"
	"github.com/tftctl/tftctl/pkg/localcloud/run"
	"github.com/tftctl/tftctl/pkg/localcloud/secrets"
	"github.com/tftctl/tftctl/pkg/localcloud/server"
	"github.com/tftctl/tftctl/pkg/localcloud/state"
	"github.com/tftctl/tftctl/pkg/localcloud/storage"
	"github.com/tftctl/tftctl/pkg/localcloud/vertex"
)

// Errors that Open returns, for callers who tell a user what to do.
var (
	ErrInUse       = state.ErrInUse       // another local cloud uses the folder
	ErrLaterSchema = state.ErrLaterSchema // a newer program wrote the folder
)

// DefaultProject is the project's id where Options names none.
const DefaultProject = "local"

// Options says where a Platform lives and what it runs.
type Options struct {
	Dir       string        // state folder; made if it is not there
	Server    string        // the program that is started, whatever image a caller names
	ServerEnv []string      // in the environment of every instance, besides its contract
	Grace     time.Duration // from SIGTERM to SIGKILL; 0: ten seconds, as Google's
	Most      int           // instances at a time; 0: fleet.MostInstances
	Log       *slog.Logger  // nil: nobody is told
	Project   string        // the id that is shown; names may have any
}

// Platform is a local cloud over one folder.
type Platform struct {
	options Options
	store   *state.Store
	log     *front.Log
	front   *front.Front
	storage *storage.Server
	secrets *secrets.Server
	ops     *ops.Operations

	ready chan struct{}

	mu          sync.Mutex
	served      bool
	controlAddr string
	frontAddr   string
	fleet       *fleet.Fleet
}

// Open opens the folder. It neither listens nor starts an instance: Serve does.
// A Platform that is not served must be closed.
//
// Errors: ErrInUse, ErrLaterSchema.
func Open(_ context.Context, o Options) (*Platform, error) {
	o.Project = cmp.Or(o.Project, DefaultProject)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the local cloud in %s: %w", o.Dir, err)
	}
	o.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the local cloud: %w", err)
	}
	store, err := state.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		return nil, fmt.Errorf("open the local cloud: %w", err)
	}
	p := &Platform{options: o, store: store, ready: make(chan struct{})}
	if err := p.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the local cloud: %w", err), store.Close())
	}
	return p, nil
}

func (p *Platform) open() error {
	var err error
	p.storage, err = storage.New(p.store, filepath.Join(p.options.Dir, "blobs"), storage.Options{
		Log:           p.options.Log,
		ProjectNumber: projectNumber,
	})
	if err != nil {
		return err
	}
	if p.log, err = front.OpenLog(filepath.Join(p.options.Dir, "front.ndjson")); err != nil {
		return err
	}
	p.front = front.New(p.log, p.options.Log)
	p.secrets = secrets.New(p.store, secrets.Project{ID: p.options.Project, Number: projectNumber(p.options.Project)})
	p.ops = ops.New(p.store)
	return nil
}

func projectNumber(project string) uint64 {
	n, err := strconv.ParseUint(run.ProjectNumber(project), 10, 64)
	if err != nil {
		return 0 // not reached: it is made of digits
	}
	return n
}

// Ready is closed once both listeners answer and every instance that should
// serve after a restart does, or has failed.
func (p *Platform) Ready() <-chan struct{} { return p.ready }

// Close closes a Platform that is not served. Serve does it itself.
func (p *Platform) Close() error {
	p.mu.Lock()
	served := p.served
	p.served = true
	p.mu.Unlock()
	if served {
		return nil
	}
	return p.close()
}

func (p *Platform) close() error {
	p.ops.Close()
	p.front.Close()
	return errors.Join(p.log.Close(), p.store.Close())
}

// Serve answers on both listeners, which it closes, until ctx ends. What served
// before serves again, what was unfinished goes on. When ctx ends, requests in
// flight finish, instances are stopped, and the folder is closed.
func (p *Platform) Serve(ctx context.Context, control, data net.Listener) error {
	p.mu.Lock()
	if p.served {
		p.mu.Unlock()
		return errors.New("serve the local cloud: it is served or closed already")
	}
	p.served = true
	p.controlAddr, p.frontAddr = control.Addr().String(), data.Addr().String()
	p.fleet = fleet.New(fleet.Options{
		Server: p.options.Server,
		Env: append(append([]string{}, p.options.ServerEnv...),
			"TFT_BIND_HOST=127.0.0.1",
			"STORAGE_EMULATOR_HOST="+p.controlAddr,
		),
		Logs:  filepath.Join(p.options.Dir, "logs"),
		Grace: p.options.Grace,
		Most:  p.options.Most,
		Log:   p.options.Log,
	})
	p.mu.Unlock()
	return errors.Join(p.serve(ctx, control, data), p.close())
}

func (p *Platform) serve(ctx context.Context, control, data net.Listener) error {
	o := p.options
	services := run.New(run.Config{
		Store: p.store, Ops: p.ops, Fleet: p.fleet, Front: p.front, Secrets: p.secrets,
		FrontURL: p.frontURL, Log: o.Log,
	})
	models := vertex.New(vertex.Config{
		Store: p.store, Ops: p.ops, Fleet: p.fleet, Front: p.front, Artifacts: p.storage,
		ProjectNumber: run.ProjectNumber, Log: o.Log,
	})
	rpc := server.NewGRPC()
	services.Register(rpc)
	models.Register(rpc)
	secretmanagerpb.RegisterSecretManagerServiceServer(rpc, p.secrets)
	longrunningpb.RegisterOperationsServer(rpc, p.ops)

	// Requests outlive ctx: they get the time to finish below.
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	controls := server.HTTP(requests, server.New(server.Parts{
		GRPC: rpc, Storage: p.storage, Admin: server.NewAdmin(p.status, p.log.Counts),
	}), o.Log)
	fronts := server.HTTP(requests, p.front, o.Log)

	// Routes before listeners: a restart answers no request with "not found".
	resumed, resumeErr := p.resume(ctx, services, models)
	broken := make(chan error, 2)
	var listening sync.WaitGroup
	listening.Go(func() { broken <- listen(controls, control) })
	listening.Go(func() { broken <- listen(fronts, data) })
	var settling sync.WaitGroup
	settled, stopSettling := context.WithCancel(ctx)
	settling.Go(func() { p.settle(settled, resumed) })

	err := resumeErr
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-broken:
		}
	}
	stopSettling()
	settling.Wait()

	// Traffic ends before those who serve it, and those who command them first.
	grace := cmp.Or(o.Grace, fleet.Grace)
	var shutting sync.WaitGroup
	shutting.Go(func() { server.Shut(fronts, grace) })
	shutting.Go(func() {
		p.ops.Close()
		services.Close()
		models.Close()
		server.Shut(controls, grace)
	})
	shutting.Wait()
	listening.Wait()
	p.fleet.Close()
	rpc.Stop()
	return err
}

func listen(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

func (p *Platform) resume(ctx context.Context, services *run.Server, models *vertex.Server) ([]*fleet.Instance, error) {
	revisions, err := services.Resume(ctx)
	if err != nil {
		return nil, fmt.Errorf("resume Cloud Run: %w", err)
	}
	deployed, err := models.Resume(ctx)
	if err != nil {
		return nil, fmt.Errorf("resume Vertex AI: %w", err)
	}
	return append(revisions, deployed...), nil
}

// settle closes ready when no instance is on its first way up any more.
func (p *Platform) settle(ctx context.Context, instances []*fleet.Instance) {
	for _, i := range instances {
		i.Settle(ctx)
	}
	if ctx.Err() == nil {
		close(p.ready)
	}
}

func (p *Platform) frontURL() string { return "http://" + p.frontAddr }

func (p *Platform) status() server.Status {
	s := server.Status{
		ControlURL: "http://" + p.controlAddr,
		FrontURL:   p.frontURL(),
		Project:    p.options.Project,
		Instances:  p.fleet.List(),
		Routes:     p.front.Routes(),
		Requests:   p.log.Counts().Total,
	}
	select {
	case <-p.ready:
		s.Ready = true
	default:
	}
	return s
}
