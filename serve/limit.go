package serve

import (
	"context"
	"net/http"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/serve/reply"
)

// limit runs at most running requests of next at a time and lets waiting more
// stand in line. Whoever finds the line full is told so at once, with 429.
//
// A request that waits here costs a goroutine; one that waits further in holds
// a body and a lane. So the line stands in front, and it has an end.
func limit(running, waiting int, next http.Handler) http.Handler {
	line := make(chan struct{}, running+waiting)
	turn := make(chan struct{}, running)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case line <- struct{}{}:
			defer func() { <-line }()
		default:
			reply.Error(w, r, fault.Newf(fault.Limited, "the server has all the requests it can hold").
				WithHint("ask again after the seconds that Retry-After names"))
			return
		}
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-r.Context().Done(): // the client has left, or the server is leaving
			reply.Error(w, r, context.Cause(r.Context()))
			return
		}
		next.ServeHTTP(w, r)
	})
}
