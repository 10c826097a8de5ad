package serve

import (
	"mime"
	"net/http"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/serve/reply"
)

// admit lets requests pass that may have a prediction in them: a POST of JSON
// of at most maxBody bytes. It decides by the headers, before the body is read;
// a body that turns out longer than it may be is cut where its reader notices.
func admit(maxBody int64, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		encoding := r.Header.Get("Content-Encoding")
		switch {
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			reply.Refuse(w, r, http.StatusMethodNotAllowed, fault.Newf(fault.Invalid, "predictions are asked for by POST"))
		case err != nil || kind != "application/json":
			reply.Refuse(w, r, http.StatusUnsupportedMediaType,
				fault.Newf(fault.Invalid, "the request's content type is not application/json").WithHint("send the header Content-Type: application/json"))
		case encoding != "" && encoding != "identity":
			reply.Refuse(w, r, http.StatusUnsupportedMediaType,
				fault.Newf(fault.Invalid, "the request's content encoding is not identity").WithHint("send the body uncompressed"))
		case r.ContentLength > maxBody:
			w.Header().Set("Connection", "close") // the body will not be read, so no request can follow it
			reply.Error(w, r, fault.Newf(fault.TooLarge, "the request body has %d bytes, over the limit of %d", r.ContentLength, maxBody).
				WithHint("send fewer instances in a request"))
		default:
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			next.ServeHTTP(w, r)
		}
	})
}

// get lets GET and HEAD pass.
func get(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			reply.Refuse(w, r, http.StatusMethodNotAllowed, fault.Newf(fault.Invalid, "this path is read by GET"))
			return
		}
		next.ServeHTTP(w, r)
	})
}
