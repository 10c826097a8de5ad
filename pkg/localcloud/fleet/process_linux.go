package fleet

import "syscall"

// attributes puts the process in a group of its own and has the kernel kill it
// when the thread that started it ends, which is when we do.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
