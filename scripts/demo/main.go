// Command demo shows the main job on real parts: a Vault server with the plugin, a Vault
// Agent that renders an application's credentials, and two applications that log in while
// their client secrets are rotated: one tries both secrets that it is given, the other
// knows only one. A third has a key that never leaves Vault, which signs for it. A service
// holds no secret: it calls an API with a token from Vault. Only Auth0 is a simulation.
//
// It ends by itself, and fails if a login of the first or the third was refused during the
// staged rotation, or a call of the service during the forced one. With -stay it leaves the parts running instead.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/auth0"
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
	stack, err := devstack.Start(ctx, devstack.Options{WorkDir: dir, Plugin: plugin, Vault: vault, Storage: "inmem", Scopes: slices.Concat(devstack.AllScopes, auth0.KeyScopes)})
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
	keyRole     = "stock"  // of the one for which Vault signs
	tokenRole   = "orders" // for the API that the service calls
	ttl         = 10 * time.Second
	propagation = 3 * time.Second
	loginEvery  = 40 * time.Millisecond
)

// play is the demo: it configures, onboards, rotates staged, then forced, with a service beside.
func play(ctx context.Context, stack *devstack.Stack) error {
	scene := newScene(stack)
	if err := scene.onboard(ctx); err != nil {
		return err
	}
	// In real life a new secret takes up to 30 s to reach all of Auth0; here 3 s.
	stack.Tenant.SetPropagation(tenant.Propagation{Delay: propagation, Mode: tenant.Mixed})
	file, err := stack.StartAgent(ctx, role)
	if err != nil {
		return err
	}
	leaseEnd := devstack.LeaseEnd(file)
	defer scene.logIn(ctx, auth0login.File(file), role, leaseEnd)()
	defer scene.logIn(ctx, scene.oneSecret(ctx), oneRole, nil)()
	defer scene.logIn(ctx, scene.assertions(), keyRole, nil)()
	scene.say("Three applications log in, up to %d times a second. One reads what a real %s Agent renders, and tries both secrets\n"+
		"        of it. The second reads from %[2]s when its lease ends, and knows only the first secret. The third holds nothing:\n"+
		"        %[2]s signs each login with a key that never leaves it.", time.Second/loginEvery, stack.Vault.Product())
	if err := scene.watch(ctx, 2*time.Second); err != nil {
		return err
	}

	before := scene.logins(role)
	scene.command("write -f auth0/rotate/%s; the same for %s and %s        (staged: hand out first, set when every lease has it)", role, oneRole, keyRole)
	for _, name := range []string{role, oneRole, keyRole} {
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
	calls, without, keyed := service.Calls(), service.Without(), scene.logins(keyRole)
	accepted, refused := staged.Accepted-before.Accepted, staged.Refused-before.Refused
	fmt.Printf(`
staged rotation, with both secrets:  %d logins, %d of them with the other secret after the first was refused; %d refused
staged rotation, with one secret:    refused until the application reads again: up to one ttl (here %s) from when the new one is set,
                                     or as long as that takes to reach all of Auth0 (here %s). This is the price of every rotation.
staged rotation, with a key:         %[11]d logins, before and after; %[12]d refused. Auth0 accepts two keys at a time.
forced rotation, with both secrets:  %[6]d logins; %[7]d refused, until the Agent read again: up to one ttl (here %[4]s). This is the price of force.
forced rotation, with a token:       %[8]d calls, before and after, each with the token that %[9]s handed out then; %[10]d refused
`, accepted+refused, staged.FellBack-before.FellBack, refused, ttl, propagation,
		forced.Accepted+forced.Refused, forced.Refused,
		calls.Accepted+calls.Refused, stack.Vault.Product(), calls.Refused,
		keyed.Accepted+keyed.Refused, keyed.Refused)
	switch {
	case accepted == 0, keyed.Accepted == 0:
		return errors.New("no login happened: the demo shows nothing")
	case refused > 0, keyed.Refused > 0:
		return errors.New("logins were refused during the staged rotation")
	case calls.Accepted == 0 || calls.Refused > 0 || without > 0:
		return fmt.Errorf("of the service's calls %d were refused (%s), and %d not made for want of a token", calls.Refused, calls.LastRefusal, without)
	}
	return nil
}
