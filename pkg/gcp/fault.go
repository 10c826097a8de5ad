package gcp

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"google.golang.org/api/googleapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tftctl/tftctl/pkg/fault"
)

// kinds turns Google's codes into ours. Source: google.rpc.Code.
var kinds = map[codes.Code]fault.Kind{
	codes.InvalidArgument:    fault.Invalid,
	codes.OutOfRange:         fault.Invalid,
	codes.FailedPrecondition: fault.Stale,
	codes.Aborted:            fault.Stale,
	codes.AlreadyExists:      fault.Stale,
	codes.NotFound:           fault.NotFound,
	codes.Unauthenticated:    fault.Unauthenticated,
	codes.PermissionDenied:   fault.Denied,
	codes.ResourceExhausted:  fault.Limited,
	codes.Unavailable:        fault.Unavailable,
	codes.DeadlineExceeded:   fault.Timeout,
	codes.Canceled:           fault.Interrupted,
}

var httpKinds = map[int]fault.Kind{
	http.StatusBadRequest:          fault.Invalid,
	http.StatusUnauthorized:        fault.Unauthenticated,
	http.StatusForbidden:           fault.Denied,
	http.StatusNotFound:            fault.NotFound,
	http.StatusConflict:            fault.Stale,
	http.StatusPreconditionFailed:  fault.Stale,
	http.StatusTooManyRequests:     fault.Limited,
	http.StatusInternalServerError: fault.Unavailable,
	http.StatusBadGateway:          fault.Unavailable,
	http.StatusServiceUnavailable:  fault.Unavailable,
	http.StatusGatewayTimeout:      fault.Timeout,
}

var hints = map[fault.Kind]string{
	fault.Unauthenticated: "run `gcloud auth application-default login`, or give the pipeline a workload identity",
	fault.Denied:          "the identity in use lacks a role on this project; the message names the permission",
	fault.Limited:         "a quota or rate is exhausted: wait, then run the same command again",
	fault.Unavailable:     "wait a moment, then run the same command again",
}

// noCredentials is what Google's clients say where they find none. It has no
// type and no code, so only the text tells it from a network that is away.
const noCredentials = "could not find default credentials"

// Fault returns err, which a Google client gave, as a fault: its kind from
// Google's code, its message from Google's. A fault stays what it is; nil is nil.
func Fault(err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	kind, message := fault.Unavailable, err.Error()
	var api *googleapi.Error
	s, isStatus := status.FromError(err)
	switch {
	case errors.Is(err, context.Canceled):
		kind, message = fault.Interrupted, "interrupted"
	case errors.Is(err, context.DeadlineExceeded):
		kind, message = fault.Timeout, "no answer in time"
	case strings.Contains(err.Error(), noCredentials):
		kind, message = fault.Unauthenticated, "no Google credentials were found"
	case errors.As(err, &api):
		k, ok := httpKinds[api.Code]
		if !ok {
			k = fault.Internal
		}
		kind, message = k, api.Message
		if message == "" {
			message = http.StatusText(api.Code)
		}
	case isStatus && s.Code() != codes.Unknown:
		k, ok := kinds[s.Code()]
		if !ok {
			k = fault.Internal
		}
		kind, message = k, s.Message()
	}
	return &fault.Error{Kind: kind, Message: message, Hint: hints[kind], Beneath: err}
}
