// Command vault is a real Vault, for the tests and the demo of the plugin. It
// is a module of its own, so that neither Vault's dependencies nor its licence
// become the plugin's. What it leaves out, and why, is said in scripts/vault.sh
// and in the folders beside this file.
package main

import (
	"os"

	"github.com/hashicorp/vault/command"
)

func main() { os.Exit(command.Run(os.Args[1:])) }
