// Command vault-plugin-secrets-auth0 is the plugin, which Vault starts. Run by hand it
// prints its version, checks a tenant, and copies itself into a folder:
//
//	vault-plugin-secrets-auth0 -version
//	vault-plugin-secrets-auth0 doctor -h
//	vault-plugin-secrets-auth0 install /plugins
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/plugin"

	auth0secrets "vault-plugin-secrets-auth0"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/doctor"
)

const usage = `Usage: vault-plugin-secrets-auth0 [flags]
       vault-plugin-secrets-auth0 doctor [flags]
       vault-plugin-secrets-auth0 install FOLDER

This is a plugin: Vault starts it, without arguments. "doctor" says what works with
an Auth0 tenant and the credentials that the engine is to have (see doctor -h).
"install" copies it into a folder, as vault-plugin-secrets-auth0_VERSION: its
container image has no other program for that.

`

// garbageRoom is about how much garbage may be in memory, in bytes.
const garbageRoom = 32 << 20

func main() {
	auth0.QuietStandardLog()
	if len(os.Args) > 1 && os.Args[1] == "doctor" {
		os.Exit(runDoctor(os.Args[2:]))
	}
	if len(os.Args) == 3 && os.Args[1] == "install" {
		if err := install(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	meta := &api.PluginAPIClientMeta{}
	flags := meta.FlagSet()
	version := flags.Bool("version", false, "print the version and exit")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage) //nolint:errcheck // to a terminal
		flags.PrintDefaults()
	}
	if err := flags.Parse(os.Args[1:]); err != nil {
		if err == flag.ErrHelp { //nolint:errorlint // returned bare
			os.Exit(0)
		}
		os.Exit(2)
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(flags.Output(), "unknown argument %q\n\n", flags.Arg(0))
		flags.Usage()
		os.Exit(2)
	}
	if *version {
		fmt.Println("vault-plugin-secrets-auth0", auth0secrets.Version)
		return
	}
	disableCoreDumps()
	// Answers are garbage once they are sent, and little else is in memory, so the
	// collector would run every few hundred reads. This makes it wait for as much
	// garbage again; memory that is never touched takes none.
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

// install copies this program into a folder, under a name with its version, or replaces
// the one there: whole, since Vault may be starting it.
func install(folder string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(self) //nolint:gosec // the program that runs
	if err != nil {
		return err
	}
	target := filepath.Join(folder, "vault-plugin-secrets-auth0_"+strings.TrimPrefix(auth0secrets.Version, "v"))
	if err := os.WriteFile(target+".new", program, 0o755); err != nil { //nolint:gosec // others run it
		return err
	}
	return os.Rename(target+".new", target) //nolint:gosec // the folder that was asked for
}

func runDoctor(args []string) int {
	disableCoreDumps()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	info, err := os.Stderr.Stat()
	return doctor.Main(ctx, args, "vault-plugin-secrets-auth0/"+auth0secrets.Version, doctor.Streams{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Terminal: err == nil && info.Mode()&os.ModeCharDevice != 0, Getenv: os.Getenv,
	})
}
