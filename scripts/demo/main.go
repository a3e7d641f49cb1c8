// Command demo shows the main job on real parts: a Vault server with the
// plugin, a Vault Agent that renders an application's credentials, and an
// application that logs in with them while its client secret is rotated. Only
// Auth0 is a simulation.
//
// It ends by itself, and fails if a login was refused during the staged
// rotation. With -stay it leaves the parts running instead.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/devvault"
	"vault-plugin-secrets-auth0/internal/tenant"
)

func main() {
	stay := flag.Bool("stay", false, "leave everything running and print commands to try")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *stay)
	stop()
	if errors.Is(err, context.Canceled) {
		fmt.Println("\ninterrupted: everything is stopped and cleaned up")
		if *stay { // that is how it ends
			return
		}
		os.Exit(130)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stay bool) error {
	dir, err := os.MkdirTemp("", "auth0-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	vault, err := devvault.Binary(ctx)
	if err != nil {
		return err
	}
	plugin, err := devstack.PluginBinary(".")
	if err != nil {
		return err
	}
	fmt.Println("Starting a simulated Auth0 tenant and a real Vault with the plugin ...")
	stack, err := devstack.Start(ctx, devstack.Options{WorkDir: dir, Plugin: plugin, Vault: vault, Storage: "inmem"})
	if err != nil {
		return err
	}
	defer stack.Stop(context.WithoutCancel(ctx))
	if stay {
		return leaveRunning(ctx, stack)
	}
	return play(ctx, stack)
}

const (
	role        = "shop"
	ttl         = 10 * time.Second
	propagation = 3 * time.Second
	loginEvery  = 40 * time.Millisecond
)

// play is the demo: it configures, onboards, rotates staged, then forced.
func play(ctx context.Context, stack *devstack.Stack) error {
	scene := newScene(stack)
	// In real life a new secret takes up to 30 s to reach all of Auth0; here 3 s.
	stack.Tenant.SetPropagation(tenant.Propagation{Delay: propagation, Mode: tenant.Mixed})
	if err := scene.onboard(ctx); err != nil {
		return err
	}
	running, end := context.WithCancel(ctx)
	file, err := stack.StartAgent(ctx, role)
	if err != nil {
		end()
		return err
	}
	app := &devstack.Application{Source: auth0login.File(file), Every: loginEvery, HTTP: stack.Tenant.HTTPClient(), Prefix: "login-"}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		app.Run(running)
	}()
	defer func() {
		end()
		<-finished
	}()
	scene.say("A real Vault Agent renders the credentials into a file; the application logs in with it %d times a second.", time.Second/loginEvery)
	if err := scene.watch(ctx, 2*time.Second, nil); err != nil {
		return err
	}
	staged, err := scene.rotate(ctx, "staged", nil)
	if err != nil {
		return err
	}
	forced, err := scene.rotate(ctx, "forced", map[string]any{"force": true})
	if err != nil {
		return err
	}
	fmt.Println()
	fmt.Printf("staged rotation: %4d logins, %d refused\n", staged.Accepted+staged.Refused, staged.Refused)
	fmt.Printf("forced rotation: %4d logins, %d refused (that is the price of force: holders of older leases fail until they read again)\n",
		forced.Accepted+forced.Refused, forced.Refused)
	switch {
	case staged.Accepted == 0:
		return errors.New("no login happened: the demo shows nothing")
	case staged.Refused > 0:
		return errors.New("logins were refused during the staged rotation")
	}
	return nil
}

func leaveRunning(ctx context.Context, stack *devstack.Stack) error {
	app := stack.Tenant.AddApplication(tenant.Application{Name: role})
	stack.Tenant.AddApplication(tenant.Application{Name: "billing"})
	ca := filepath.Join(stack.Dir, "ca.pem")
	if err := os.WriteFile(ca, []byte(stack.Tenant.CACert()), 0o600); err != nil {
		return err
	}
	if _, err := stack.Write(ctx, "config", stack.Config()); err != nil {
		return err
	}
	fmt.Printf(`
Vault runs with the engine mounted at %[1]s/ and configured. In another terminal:

  export VAULT_ADDR=%[2]s VAULT_TOKEN=%[3]s PATH=%[4]s:$PATH

  vault read  %[1]s/config
  vault write %[1]s/roles/%[5]s client_id=%[6]s ttl=1m
  vault read  %[1]s/creds/%[5]s
  vault write -f %[1]s/rotate/%[5]s
  vault read  %[1]s/roles/%[5]s
  vault write %[1]s/rotate/%[5]s force=true
  vault list -detailed %[1]s/applications
  vault path-help %[1]s

It was configured with

  vault write %[1]s/config domain=%[7]s client_id=%[8]s client_secret=%[9]s ca_cert=@%[10]s

The simulated Auth0 tenant is https://%[7]s, Vault's log is %[11]s. Ctrl-C stops everything.
`, devstack.Mount, stack.Vault.Addr(), stack.Vault.Token(), filepath.Dir(stack.Vault.Binary()), role, app.ClientID, stack.Tenant.Domain(),
		stack.Engine.ClientID, stack.Engine.ClientSecret, ca, stack.Vault.LogFile())
	<-ctx.Done()
	return ctx.Err()
}
