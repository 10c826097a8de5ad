//go:build !linux

package fleet

import "net"

// reserve finds a port that is free now. Elsewhere than on Linux a bound port
// cannot be listened on by another process, so it is let go before the instance
// starts; an instance that finds it taken is moved to another one.
func reserve() (*reservation, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return &reservation{port: l.Addr().(*net.TCPAddr).Port}, nil
}
