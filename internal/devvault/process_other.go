//go:build unix && !linux

package devvault

import "syscall"

// childAttributes put a child into a group of its own. Without Linux's parent
// death signal it outlives a parent that is killed.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
