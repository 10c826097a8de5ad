// Package vertex plays Vertex AI: models and their versions, endpoints, the
// models deployed to them, and predictions.
package vertex

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tftctl/tftctl/pkg/localcloud/fleet"
	"github.com/tftctl/tftctl/pkg/localcloud/front"
	"github.com/tftctl/tftctl/pkg/localcloud/ops"
	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// The kinds of what is stored.
const (
	kindModel    = "vertex/model"    // name -> aiplatformpb.Model: what all its versions share
	kindVersion  = "vertex/version"  // name@number -> aiplatformpb.Model: what is the version's own
	kindNumber   = "vertex/number"   // name -> the highest number that a version of it ever had
	kindArtifact = "vertex/artifact" // name@number -> gs:// of our copy of what it was uploaded from
	kindUpload   = "vertex/upload"   // operation -> aiplatformpb.UploadModelRequest, until it is done
	kindEndpoint = "vertex/endpoint" // name -> aiplatformpb.Endpoint
	kindDeploy   = "vertex/deploy"   // operation -> aiplatformpb.DeployModelRequest, until it is done
)

// Artifacts copies what a model was uploaded from, so that later changes to it
// change no version.
type Artifacts interface {
	CopyPrefix(ctx context.Context, srcBucket, srcPrefix, dstBucket, dstPrefix string) (int, error)
}

// Config is what a Server needs of the rest of the local cloud.
type Config struct {
	Store         *state.Store
	Ops           *ops.Operations
	Fleet         *fleet.Fleet
	Front         *front.Front
	Artifacts     Artifacts
	ProjectNumber func(project string) string
	Log           *slog.Logger
}

// Server answers for models, endpoints and predictions.
type Server struct {
	models      modelService
	endpoints   endpointService
	predictions predictionService

	*platform
}

type (
	modelService struct {
		aiplatformpb.UnimplementedModelServiceServer
		*platform
	}
	endpointService struct {
		aiplatformpb.UnimplementedEndpointServiceServer
		*platform
	}
	predictionService struct {
		aiplatformpb.UnimplementedPredictionServiceServer
		*platform
	}
)

var (
	_ aiplatformpb.ModelServiceServer      = modelService{}
	_ aiplatformpb.EndpointServiceServer   = endpointService{}
	_ aiplatformpb.PredictionServiceServer = predictionService{}
)

// platform is what the three share.
type platform struct {
	Config
	pool       *fleet.Pool
	reconciler *ops.Reconciler
	routing    sync.Mutex // held while the front is brought to what is stored
}

// New returns a Server over what the store holds. It starts nothing: Resume does.
func New(c Config) *Server {
	p := &platform{Config: c, pool: fleet.NewPool(c.Fleet, c.Front.Landed)}
	p.reconciler = ops.NewReconciler(c.Log, p.reconcile)
	return &Server{
		models: modelService{platform: p}, endpoints: endpointService{platform: p},
		predictions: predictionService{platform: p}, platform: p,
	}
}

// Register makes the gRPC server answer for Vertex AI.
func (s *Server) Register(to grpc.ServiceRegistrar) {
	aiplatformpb.RegisterModelServiceServer(to, s.models)
	aiplatformpb.RegisterEndpointServiceServer(to, s.endpoints)
	aiplatformpb.RegisterPredictionServiceServer(to, s.predictions)
}

// Close ends the work in progress; what is unfinished is resumed after the next
// start. The instances are the fleet's to stop.
func (s *Server) Close() {
	s.reconciler.Close()
	s.pool.Close()
}

// Resume serves again what was deployed before the last end, and goes on with
// the uploads and deployments that were unfinished then. It returns the instances
// that this needs.
func (s *Server) Resume(ctx context.Context) ([]*fleet.Instance, error) {
	var endpoints []string
	var tasks []ops.Task
	err := s.Store.View(func(tx *state.Tx) (err error) {
		if tasks, err = s.Ops.Unfinished(tx, ""); err != nil {
			return err
		}
		return tx.Scan(kindEndpoint, "", func(name string, _ []byte) error {
			endpoints = append(endpoints, name)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	var all []*fleet.Instance
	for _, name := range endpoints {
		started, err := s.sync(name)
		if err != nil {
			s.Log.Error("serve again", "endpoint", name, "error", err)
		}
		all = append(all, started...)
	}
	for _, t := range tasks {
		if endpointName.MatchString(t.Resource) || modelName.MatchString(t.Resource) {
			s.reconciler.Kick(t.Name)
		}
	}
	return all, nil
}

// reconcile goes on with an unfinished operation.
func (s *platform) reconcile(ctx context.Context, operation string) error {
	var upload aiplatformpb.UploadModelRequest
	var deploy aiplatformpb.DeployModelRequest
	var uploads, deploys bool
	err := s.Store.View(func(tx *state.Tx) (err error) {
		if uploads, err = tx.GetMessage(kindUpload, operation, &upload); err != nil {
			return err
		}
		deploys, err = tx.GetMessage(kindDeploy, operation, &deploy)
		return err
	})
	switch {
	case err != nil:
		return err
	case uploads:
		return s.upload(ctx, operation, &upload)
	case deploys:
		return s.deploy(ctx, operation, &deploy)
	}
	// It is done already, or what it was about is gone.
	return s.Ops.Update(func(tx *state.Tx) error {
		return s.Ops.Fail(tx, operation, nil, status.Error(codes.Aborted, "The operation cannot be continued."))
	})
}

// sync brings the front to what is stored of an endpoint, and starts what is
// deployed to it and does not run.
func (s *platform) sync(endpoint string) ([]*fleet.Instance, error) {
	s.routing.Lock()
	defer s.routing.Unlock()
	var key string
	var e *aiplatformpb.Endpoint
	specs, paths := map[string]fleet.Spec{}, map[string]string{}
	err := s.Store.View(func(tx *state.Tx) (err error) {
		if e, err = getEndpoint(tx, endpoint); err != nil || e == nil {
			return err
		}
		key = front.Claimed(tx, endpoint)
		for _, d := range e.GetDeployedModels() {
			if specs[d.GetId()], err = s.instanceSpec(tx, key, endpoint, d, true); err != nil {
				return err
			}
			if paths[d.GetId()], err = predictPath(tx, endpoint, d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || e == nil {
		if err == nil {
			s.Front.Set(endpoint)
		}
		return nil, err
	}
	route := front.Route{Key: key, Timeout: predictTimeout}
	var all []*fleet.Instance
	var failed []error
	for _, d := range e.GetDeployedModels() {
		spec := specs[d.GetId()]
		i, err := s.pool.Need(spec.Name, func() (fleet.Spec, error) { return spec, nil })
		if err != nil {
			failed = append(failed, fmt.Errorf("start %s: %w", spec.Name, err))
			continue
		}
		all = append(all, i)
		if percent := e.GetTrafficSplit()[d.GetId()]; percent > 0 {
			route.Targets = append(route.Targets, front.Target{Name: spec.Name, Percent: int(percent), Backend: i, Path: paths[d.GetId()], Detail: d})
		}
	}
	s.Front.Set(endpoint, route)
	return all, errors.Join(failed...)
}

// last returns what follows the last slash: a resource's own id.
func last(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
