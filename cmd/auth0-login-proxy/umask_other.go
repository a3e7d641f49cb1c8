//go:build !unix

package main

// umask does nothing: there are no modes of files.
func umask(mask int) int { return mask }
