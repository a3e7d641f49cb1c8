//go:build !unix

package main

// disableCoreDumps has nothing to do here.
func disableCoreDumps() {}
