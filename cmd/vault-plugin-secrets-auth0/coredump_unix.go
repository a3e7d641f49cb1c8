//go:build unix

package main

import "syscall"

// disableCoreDumps keeps secrets in memory out of files. If it fails, the plugin serves
// all the same.
func disableCoreDumps() { _ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }
