package vertex

import (
	"context"
	"sync"

	"google.golang.org/api/option"

	"github.com/tftctl/tftctl/pkg/gcp"
)

// client returns a function that makes a client of Vertex AI once.
func client[C any](place gcp.Endpoint, open func(context.Context, ...option.ClientOption) (*C, error)) func() (*C, error) {
	return sync.OnceValues(func() (*C, error) {
		ctx := context.Background() // the client outlives the call that makes it
		opts, err := place.Options(ctx, "aiplatform")
		if err != nil {
			return nil, err
		}
		return open(ctx, opts...)
	})
}
