package serve

import (
	"net/http"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/serve/drain"
	"github.com/tftctl/tftctl/serve/predict"
	"github.com/tftctl/tftctl/serve/reply"
)

// startup answers whether the server has finished starting: it has a model.
// It stays green while the server leaves, because nobody should start it again.
func startup(models predict.Finder) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, done, err := models.Find("", "")
		if err != nil {
			reply.Error(w, r, err)
			return
		}
		done()
		reply.JSON(w, http.StatusOK, []byte(`{"started":true}`+"\n"))
	})
}

// live answers whether the process still answers. Nothing else belongs here: a
// probe that fails has the process killed, which helps against a deadlock and
// against nothing that a reload, a dependency or a full line could cause.
func live() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reply.JSON(w, http.StatusOK, []byte(`{"live":true}`+"\n"))
	})
}

// ready answers whether new requests should be sent here. A leaving server says
// no at once, and still answers whoever comes.
func ready(models predict.Finder, d *drain.Drain) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.Leaving() {
			reply.Error(w, r, fault.Newf(fault.Unavailable, "the server is leaving"))
			return
		}
		_, done, err := models.Find("", "")
		if err != nil {
			reply.Error(w, r, err)
			return
		}
		done()
		reply.JSON(w, http.StatusOK, []byte(`{"ready":true}`+"\n"))
	})
}
