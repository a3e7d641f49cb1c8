// Command demo shows the main job on real parts: a Vault server with the plugin, a Vault
// Agent that renders an application's credentials, and two applications that log in while
// their client secrets are rotated: one tries both secrets that it is given, the other
// knows only one. A service holds no secret: it calls an API with a token from Vault. Only
// Auth0 is a simulation.
//
// It ends by itself, and fails if a login of the first was refused during the staged
// rotation, or a call of the service during the forced one. With -stay it leaves the parts running instead.
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
	role        = "shop"   // of the application that tries two secrets
	oneRole     = "legacy" // of the one that knows one
	tokenRole   = "orders" // for the API that the service calls
	ttl         = 10 * time.Second
	propagation = 3 * time.Second
	loginEvery  = 40 * time.Millisecond
)

// play is the demo: it configures, onboards, rotates staged, then forced, with a service beside.
func play(ctx context.Context, stack *devstack.Stack) error {
	scene := newScene(stack)
	// In real life a new secret takes up to 30 s to reach all of Auth0; here 3 s.
	stack.Tenant.SetPropagation(tenant.Propagation{Delay: propagation, Mode: tenant.Mixed})
	if err := scene.onboard(ctx); err != nil {
		return err
	}
	file, err := stack.StartAgent(ctx, role)
	if err != nil {
		return err
	}
	leaseEnd := devstack.LeaseEnd(file)
	defer scene.logIn(ctx, auth0login.File(file), role, leaseEnd)()
	defer scene.logIn(ctx, scene.oneSecret(ctx), oneRole, nil)()
	scene.say("Two applications log in, up to %d times a second. One reads what a real %s Agent renders, and tries both secrets\n"+
		"        of it. The other reads from %[2]s when its lease ends, and knows only the first secret.", time.Second/loginEvery, stack.Vault.Product())
	if err := scene.watch(ctx, 2*time.Second); err != nil {
		return err
	}

	before := scene.logins(role)
	scene.command("write -f auth0/rotate/%s; the same for %s        (staged: hand out first, set when every lease has it)", role, oneRole)
	for _, name := range []string{role, oneRole} {
		if err := scene.rotate(ctx, name, nil); err != nil {
			return err
		}
	}
	if err := scene.watch(ctx, ttl); err != nil {
		return err
	}
	staged := scene.logins(role)
	if err := scene.watch(ctx, ttl); err != nil { // until the other has read again
		return err
	}

	forced, service, err := scene.emergency(ctx, leaseEnd)
	if err != nil {
		return err
	}
	calls, without := service.Calls(), service.Without()
	accepted, refused := staged.Accepted-before.Accepted, staged.Refused-before.Refused
	fmt.Printf(`
staged rotation, with both secrets:  %d logins, %d of them with the other secret after the first was refused; %d refused
staged rotation, with one secret:    refused until the application reads again: up to one ttl (here %s) from when the new one is set,
                                     or as long as that takes to reach all of Auth0 (here %s). This is the price of every rotation.
forced rotation, with both secrets:  %[6]d logins; %[7]d refused, until the Agent read again: up to one ttl (here %[4]s). This is the price of force.
forced rotation, with a token:       %[8]d calls, before and after, each with the token that %[9]s handed out then; %[10]d refused
`, accepted+refused, staged.FellBack-before.FellBack, refused, ttl, propagation,
		forced.Accepted+forced.Refused, forced.Refused,
		calls.Accepted+calls.Refused, stack.Vault.Product(), calls.Refused)
	switch {
	case accepted == 0:
		return errors.New("no login happened: the demo shows nothing")
	case refused > 0:
		return errors.New("logins were refused during the staged rotation")
	case calls.Accepted == 0 || calls.Refused > 0 || without > 0:
		return fmt.Errorf("of the service's calls %d were refused (%s), and %d not made for want of a token", calls.Refused, calls.LastRefusal, without)
	}
	return nil
}
