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
	product, err := devvault.Product(ctx, vault)
	if err != nil {
		return err
	}
	fmt.Printf("Starting a simulated Auth0 tenant and a real %s with the plugin ...\n", product)
	stack, err := devstack.Start(ctx, devstack.Options{WorkDir: dir, Plugin: plugin, Vault: vault, Storage: "inmem"})
	if err != nil {
		return err
	}
	defer stack.Stop(context.WithoutCancel(ctx))
	if stay {
		return leaveRunning(ctx, stack, plugin)
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
	app := &devstack.Application{
		Source: auth0login.File(file), Domain: stack.Tenant.Domain(), Every: loginEvery, HTTP: stack.Tenant.HTTPClient(), Prefix: "login-",
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		app.Run(running)
	}()
	defer func() {
		end()
		<-finished
	}()
	scene.say("A real %s Agent renders the credentials into a file; the application logs in with it %d times a second.",
		stack.Vault.Product(), time.Second/loginEvery)
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
