// Command vault-plugin-secrets-auth0 is the plugin. Vault starts it; by hand it
// only tells its version.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/plugin"

	auth0secrets "vault-plugin-secrets-auth0"
)

// garbageRoom is about how much garbage may be in memory, in bytes.
const garbageRoom = 32 << 20

func main() {
	meta := &api.PluginAPIClientMeta{}
	flags := meta.FlagSet()
	version := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(os.Args[1:]); err != nil {
		if err == flag.ErrHelp { //nolint:errorlint // returned bare
			os.Exit(0)
		}
		os.Exit(2)
	}
	if *version {
		fmt.Println("vault-plugin-secrets-auth0", auth0secrets.Version)
		return
	}
	disableCoreDumps()
	// Answers are garbage once they are sent, and what lives is small: without
	// more room the collector would run every few hundred reads. Memory that is
	// never touched takes none, but lets it wait for as much.
	room := make([]byte, garbageRoom)
	err := plugin.ServeMultiplex(&plugin.ServeOpts{
		BackendFactoryFunc: auth0secrets.Factory,
		// Vault below 1.12 speaks TLS of its own to plugins; later ones ignore this.
		TLSProviderFunc: api.VaultPluginTLSProvider(meta.GetTLSConfig()),
	})
	runtime.KeepAlive(room)
	if err != nil {
		hclog.New(&hclog.LoggerOptions{}).Error("the plugin has ended", "error", err)
		os.Exit(1)
	}
}
