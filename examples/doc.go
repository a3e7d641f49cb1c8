// Package examples has files to copy: how applications get the engine's
// credentials, by the programs that are in use for that. docs/examples.md says
// what each does and what it was tested with.
package examples
