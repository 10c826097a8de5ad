package fleet

import (
	"context"
	"net"
	"strconv"
	"time"
)

// reservation is a port of the loopback that is ours for an instance's life.
type reservation struct {
	port int
	hold func() // lets go of it
}

func (r *reservation) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

func (r *reservation) release() {
	if r.hold != nil {
		r.hold()
		r.hold = nil
	}
}

// taken says whether somebody listens on the port. It is asked when a process
// that should have listened there has ended.
func (r *reservation) taken() bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", r.address())
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
