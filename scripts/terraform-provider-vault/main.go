// Command terraform-provider-vault is the Terraform provider of Vault, for the
// test of examples/terraform/vault. It is the last version that can be had as a
// Go module, put on a Terraform library that speaks today's plugin protocol; it
// is in a module of its own, away from the product's.
package main

import (
	"github.com/hashicorp/terraform/plugin"
	"github.com/terraform-providers/terraform-provider-vault/vault"
)

func main() {
	plugin.Serve(&plugin.ServeOpts{ProviderFunc: vault.Provider})
}
