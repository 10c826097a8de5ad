// Package server is the local cloud's control port: gRPC, Cloud Storage and the
// local cloud's own pages on one loopback listener, without TLS.
package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// mostMessage is how large a gRPC request may be. It is over every limit that a
// service has of its own, so that the caller is told that one.
const mostMessage = 64 << 20

// NewGRPC returns a gRPC server to register services with. What nobody has
// registered answers that it is not implemented and says its name.
func NewGRPC() *grpc.Server {
	return grpc.NewServer(
		grpc.MaxRecvMsgSize(mostMessage),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			method, _ := grpc.MethodFromServerStream(stream)
			return status.Errorf(codes.Unimplemented, "method %s is not implemented by the local cloud", strings.TrimPrefix(method, "/"))
		}),
	)
}

// Parts is what answers on the control port.
type Parts struct {
	GRPC    http.Handler // *grpc.Server
	Storage http.Handler // Cloud Storage
	Admin   http.Handler // /_local/
}

// New returns the handler of the control port. The order of the questions is the
// order in which a request is claimed: what a caller speaks before where it asks.
func New(p Parts) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path // of a proxy-style request line too: scheme and host are gone
		switch {
		case r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc"):
			p.GRPC.ServeHTTP(w, r)
		case strings.HasPrefix(path, "/_local/"):
			p.Admin.ServeHTTP(w, r)
		case isREST(path):
			refuse(w, http.StatusNotImplemented, "UNIMPLEMENTED",
				fmt.Sprintf("method %s %s is not implemented: the local cloud serves this API over gRPC only, on this same address", r.Method, path))
		case hasAnyPrefix(path, "/storage/", "/upload/", "/download/"):
			p.Storage.ServeHTTP(w, r)
		case (r.Method == http.MethodGet || r.Method == http.MethodHead) && isObject(path):
			p.Storage.ServeHTTP(w, r)
		default:
			refuse(w, http.StatusNotFound, "NOT_FOUND", fmt.Sprintf("nothing answers %s %s", r.Method, path))
		}
	})
}

// isREST says whether a path belongs to a JSON API of a service that speaks gRPC
// here.
func isREST(path string) bool {
	return hasAnyPrefix(path, "/v1/", "/v1beta1/", "/v2/", "/v3/", "/ui/", "/apis/serving.knative.dev/")
}

// isObject says whether a path is /BUCKET/OBJECT.
func isObject(path string) bool {
	bucket, object, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return bucket != "" && object != ""
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// refuse answers in the form of Google's API errors.
func refuse(w http.ResponseWriter, code int, status, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": code, "message": message, "status": status}}) // a caller that is gone needs no answer
}
