// Package gcp is where Google is: the address and credentials with which
// clients are made, and Google's errors in our words.
package gcp

import (
	"context"
	"net"
	"os"
	"time"

	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tftctl/tftctl/pkg/fault"
)

// Endpoint is one place where Google's APIs are answered. The same clients go
// to Google or to a local cloud; this value decides which, and nothing else asks.
type Endpoint struct {
	Address string // host:port of a local cloud, plain text; "": Google itself
	Project string
	Region  string
}

// Parent returns the resource name that holds the project's resources in the region.
func (e Endpoint) Parent() string { return "projects/" + e.Project + "/locations/" + e.Region }

// reach bounds the look whether a local cloud answers at all. It is on this machine.
const reach = time.Second

// Options returns what the official client of service ("run", "aiplatform",
// "secretmanager") needs to be made.
//
// Errors: Unavailable where nothing listens at a local address. Google's
// clients would repeat for ten seconds before they say so.
func (e Endpoint) Options(ctx context.Context, service string) ([]option.ClientOption, error) {
	if e.Address == "" {
		if service == "aiplatform" { // the client's own default is the global host, which serves no models
			return []option.ClientOption{option.WithEndpoint(e.Region + "-aiplatform.googleapis.com:443")}, nil
		}
		return nil, nil
	}
	if err := e.reachable(ctx); err != nil {
		return nil, err
	}
	return []option.ClientOption{
		option.WithEndpoint(e.Address),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}, nil
}

// StorageOptions returns what the official Cloud Storage client, which speaks
// HTTP, needs to be made. Errors as Options.
func (e Endpoint) StorageOptions(ctx context.Context) ([]option.ClientOption, error) {
	if e.Address == "" {
		return nil, nil
	}
	if err := e.reachable(ctx); err != nil {
		return nil, err
	}
	return []option.ClientOption{
		option.WithEndpoint("http://" + e.Address + "/storage/v1/"),
		option.WithoutAuthentication(),
	}, nil
}

func (e Endpoint) reachable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", e.Address)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "no local cloud answers on %s", e.Address).
			WithHint("start it with `tftctl local up --detach`, or name another with --endpoint-override")
	}
	return conn.Close()
}

// FromEnvironment returns the endpoint that a container finds: Google, or what
// STORAGE_EMULATOR_HOST names, which Google's storage client honours by itself.
func FromEnvironment() Endpoint {
	return Endpoint{Project: os.Getenv("GOOGLE_CLOUD_PROJECT")}
}
