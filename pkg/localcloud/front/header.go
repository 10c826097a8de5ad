package front

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// hopByHop are the headers that belong to one connection and are not passed on.
var hopByHop = [...]string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func removeHopByHop(h http.Header) {
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
}

// forwardedHeader is the caller's header with what Google's front end adds.
func forwardedHeader(r *http.Request) http.Header {
	h := r.Header.Clone()
	removeHopByHop(h)
	caller, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		caller = r.RemoteAddr
	}
	if before := h.Get("X-Forwarded-For"); before != "" {
		h.Set("X-Forwarded-For", before+", "+caller)
	} else {
		h.Set("X-Forwarded-For", caller)
	}
	h.Set("X-Forwarded-Proto", "https")
	h.Set("Forwarded", fmt.Sprintf("for=%q;proto=https", caller))
	if h.Get("Traceparent") == "" && h.Get("X-Cloud-Trace-Context") == "" {
		var id [24]byte
		rand.Read(id[:])
		trace, span := hex.EncodeToString(id[:16]), id[16:]
		h.Set("Traceparent", "00-"+trace+"-"+hex.EncodeToString(span)+"-00")
		h.Set("X-Cloud-Trace-Context", fmt.Sprintf("%s/%d;o=0", trace, binary.BigEndian.Uint64(span)))
	}
	if len(h["User-Agent"]) == 0 {
		h["User-Agent"] = nil // or the transport adds its own
	}
	return h
}

// reserved says whether Google's front end keeps a path for itself, so that a
// request for it never reaches a container.
func reserved(path string) bool { return path == "/healthz" || strings.HasPrefix(path, "/_ah/") }

func cutQuery(path string) (before, query string, found bool) { return strings.Cut(path, "?") }

func pathOf(pathAndQuery string) string {
	path, _, _ := cutQuery(pathAndQuery)
	return path
}

// reply tells an HTTP caller why nobody answered; what lies beneath stays here.
func reply(w http.ResponseWriter, e *Unanswered) {
	message := map[int]string{
		http.StatusNotFound:              "nothing is served under this address",
		http.StatusRequestEntityTooLarge: "the request is too large",
		http.StatusTooManyRequests:       "no available instance",
		http.StatusGatewayTimeout:        "the instance did not answer in time",
		http.StatusServiceUnavailable:    "the service is unavailable",
	}[e.Status]
	if message == "" {
		message = "the instance broke off without an answer"
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Server", "Google Frontend")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": e.Status, "message": message}}) // a caller that is gone needs no answer
}
