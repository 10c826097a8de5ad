//go:build !linux

package fleet

import "syscall"

// attributes puts the process in a group of its own. Only Linux can tie a
// process to its parent's life: elsewhere instances outlive a local cloud that
// is killed, and end when it is stopped.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
