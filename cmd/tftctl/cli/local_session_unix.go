//go:build unix

package cli

import "syscall"

// ownSession lets a process outlive the terminal that started it.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
