//go:build unix

package main

import "syscall"

// disableCoreDumps keeps secrets in memory out of files. That it cannot be done
// is no reason not to serve.
func disableCoreDumps() { _ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }
