package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/tenant"
)

const (
	keyedRole = "keyed" // of an application that authenticates by private_key_jwt

	// slow is how long each answer of the Management API takes while the role is rotated.
	// A rotation by force needs some of them, and holds the role's lock throughout: if
	// reads waited for it, p99 would be longer than slow. No other load makes it that.
	slow = 2 * time.Second
)

// compareSigning reads assertions, and has Vault's Transit sign as much with a key of the
// same size: in turn, since both take CPU time of Vault's process. What else the machine
// does meets one slice and not the next, and only adds to it: so the least of them count.
// Then it reads assertions while their role is rotated.
func compareSigning(ctx context.Context, s *devstack.Stack, t *table) error {
	app := s.Tenant.AddApplication(tenant.Application{Name: keyedRole})
	first := s.Tenant.AddCredential(app.ClientID, tenant.PrivateKeyJWT)
	_, err := s.Write(ctx, "roles/"+keyedRole, map[string]any{"client_id": app.ClientID, "credential_type": "private_key"})
	if err != nil {
		return err
	}
	s.Tenant.DisableCredential(app.ClientID, tenant.PrivateKeyJWT, first.ID) // rotations need the room
	ours := newReader(s, "", devstack.Mount+"/assertions/"+keyedRole)
	transit, err := transitSigner(ctx, s)
	if err != nil {
		return err
	}
	say("Reading assertions/, and signing by Transit, in turn (%s)", (sliceCount+1)*slice*2)
	for i := range sliceCount + 1 {
		if err := errors.Join(ours.read(ctx), transit.read(ctx)); err != nil {
			return err
		}
		if i == 0 {
			ours.clear()
			transit.clear()
		}
	}
	t.atMost("`assertions/`: CPU time of Vault and the plugin for a read, of Transit's for a signature; of each the least of the slices",
		ratio(ours.least, transit.least), 2,
		fmt.Sprintf(" (%s against %s; all slices: %s against %s)", micros(ours.least), micros(transit.least), micros(ours.each()), micros(transit.each())))
	t.add("`assertions/`: reads a second, and p99", ours.context()+"; Transit: "+transit.context(), "", true)
	return readWhileRotating(ctx, s, t, ours)
}

// transitSigner has a key in Transit sign what an assertion's signature is of.
func transitSigner(ctx context.Context, s *devstack.Stack) (*reader, error) {
	read, err := s.Read(ctx, "assertions/"+keyedRole)
	if err != nil {
		return nil, err
	}
	assertion := fmt.Sprint(read.Data["client_assertion"])
	if err := s.Vault.EnableSecrets(ctx, "transit", "transit", ""); err != nil {
		return nil, err
	}
	_, err = s.Vault.Client().Logical().WriteWithContext(ctx, "transit/keys/bench", map[string]any{"type": "rsa-2048"})
	if err != nil {
		return nil, err
	}
	signer := newReader(s, "", "transit/sign/bench")
	signer.body, err = json.Marshal(map[string]any{
		"signature_algorithm": "pkcs1v15", "hash_algorithm": "sha2-256", // RS256
		"input": base64.StdEncoding.EncodeToString([]byte(assertion[:strings.LastIndexByte(assertion, '.')])),
	})
	return signer, err
}

// readWhileRotating reads assertions without a rotation, and then while one by force
// follows the other, with an Auth0 that is slow.
func readWhileRotating(ctx context.Context, s *devstack.Stack, t *table, ours *reader) error {
	const times = sliceCount / 2
	say("Reading assertions/ without rotations, and beside them (%s)", 2*times*slice)
	read := func() error {
		ours.clear()
		for range times {
			if err := ours.read(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	if err := read(); err != nil {
		return err
	}
	without := ours.p99()
	s.Tenant.Inject(tenant.Fault{Endpoint: tenant.AnyManagement, Kind: tenant.Slow, Delay: slow})
	before := s.Tenant.Stats().Requests
	rotating, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		for {
			_, err := s.Write(rotating, "rotate/"+keyedRole, map[string]any{"force": true})
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	err := read()
	stop()
	if refused := <-ended; err == nil && !errors.Is(refused, context.Canceled) {
		err = refused
	}
	if err != nil {
		return err
	}
	const registered = "POST /api/v2/clients/{id}/credentials 201"
	begun := s.Tenant.Stats().Requests[registered] - before[registered]
	if begun == 0 {
		return errors.New("the role was not rotated")
	}
	t.atMost(fmt.Sprintf("`assertions/` while the role is rotated, and Auth0 answers after %s: p99, ms", slow), ours.p99(), float64(slow.Milliseconds()),
		fmt.Sprintf(" (without rotations %.1f; rotations begun: %d)", without, begun))
	return nil
}
