// Command baseline-plugin is the plugin that does nothing, which the benchmark
// measures the engine against: see internal/baseline.
package main

import (
	"fmt"
	"os"

	"github.com/hashicorp/vault/sdk/plugin"

	"vault-plugin-secrets-auth0/internal/baseline"
)

func main() {
	if err := plugin.ServeMultiplex(&plugin.ServeOpts{BackendFactoryFunc: baseline.Factory}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
