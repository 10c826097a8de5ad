package fleet

import (
	"os"
	"syscall"
)

// reserve binds a port and does not listen on it. The kernel gives a bound port
// to nobody who asks for any free one, while a program that sets SO_REUSEADDR,
// as servers do and Go's net.Listen does, may still listen on it. So nothing can
// slip in between choosing the port and the process that uses it, nor between a
// crash and the next start.
func reserve() (*reservation, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	r, err := bind(fd)
	if err != nil {
		_ = syscall.Close(fd) // the error that counts is the one before
		return nil, err
	}
	return r, nil
}

func bind(fd int) (*reservation, error) {
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	return &reservation{
		port: name.(*syscall.SockaddrInet4).Port,
		hold: func() { _ = syscall.Close(fd) }, // a socket that was never connected has nothing to lose
	}, nil
}
