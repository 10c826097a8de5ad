// Package run plays Cloud Run v2: services, their revisions, the traffic among
// them, and the instances that this needs.
package run

import (
	"context"
	"log/slog"

	"cloud.google.com/go/run/apiv2/runpb"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc"

	"github.com/tftctl/tftctl/pkg/localcloud/fleet"
	"github.com/tftctl/tftctl/pkg/localcloud/front"
	"github.com/tftctl/tftctl/pkg/localcloud/ops"
	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// The kinds of what is stored.
const (
	kindService  = "run/service"  // name -> runpb.Service
	kindRevision = "run/revision" // name -> runpb.Revision
	kindPolicy   = "run/policy"   // service's name -> iampb.Policy
	kindGone     = "run/gone"     // name -> runpb.Service, from its deletion until its operation is done
)

// Secrets reads the value of a secret's version for an instance.
type Secrets interface {
	AccessSecretVersion(context.Context, *secretmanagerpb.AccessSecretVersionRequest) (*secretmanagerpb.AccessSecretVersionResponse, error)
}

// Config is what a Server needs of the rest of the local cloud.
type Config struct {
	Store    *state.Store
	Ops      *ops.Operations
	Fleet    *fleet.Fleet
	Front    *front.Front
	Secrets  Secrets
	FrontURL func() string // where callers reach the front: http://127.0.0.1:PORT
	Log      *slog.Logger
}

// Server answers for services and revisions.
type Server struct {
	services
	revisions

	*cloudRun
}

// The two gRPC services have methods of the same names, so each is a type.
type (
	services struct {
		runpb.UnimplementedServicesServer
		*cloudRun
	}
	revisions struct {
		runpb.UnimplementedRevisionsServer
		*cloudRun
	}
)

var (
	_ runpb.ServicesServer  = services{}
	_ runpb.RevisionsServer = revisions{}
)

// cloudRun is what both share.
type cloudRun struct {
	Config
	pool       *fleet.Pool
	reconciler *ops.Reconciler
}

// New returns a Server over what the store holds. It starts nothing: Resume does.
func New(c Config) *Server {
	r := &cloudRun{Config: c, pool: fleet.NewPool(c.Fleet, c.Front.Landed)}
	r.reconciler = ops.NewReconciler(c.Log, r.reconcile)
	return &Server{services: services{cloudRun: r}, revisions: revisions{cloudRun: r}, cloudRun: r}
}

// Register makes the gRPC server answer for Cloud Run.
func (s *Server) Register(to grpc.ServiceRegistrar) {
	runpb.RegisterServicesServer(to, s.services)
	runpb.RegisterRevisionsServer(to, s.revisions)
}

// Close ends the work in progress; what is unfinished is resumed after the next
// start. The instances are the fleet's to stop.
func (s *Server) Close() {
	s.reconciler.Close()
	s.pool.Close()
}
