package devvault

import "syscall"

// childAttributes put a child into a group of its own, and have the kernel kill
// it when its parent dies.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
