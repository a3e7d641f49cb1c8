// Package reread has the rules by which other programs read credentials again,
// for tests: what the Vault Secrets Operator, consul-template (which is Vault
// Agent's templating, too) and programs that read at an interval do with ttl,
// rotation_period, last_vault_rotation and leases. It is never part of the
// plugin.
//
// The rules are those of
//
//	Vault Secrets Operator 1.2.0, 1.3.0, 1.4.1
//	                            VaultDynamicSecret, with and without allowStaticCreds
//	consul-template 0.41.1      vault.read without and with a lease that cannot be renewed
//	External Secrets Operator, Secrets Store CSI driver
//	                            read at an interval, whatever the answer says
package reread

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/vault/api"
)

// Answer is an answer of creds/ or static-creds/ as a reader gets it: numbers
// are json.Number.
type Answer struct {
	Data          map[string]any
	LeaseID       string
	LeaseDuration time.Duration
	Renewable     bool
}

// FromSecret takes an answer from Vault's API client.
func FromSecret(secret *api.Secret) Answer {
	return Answer{
		Data: secret.Data, LeaseID: secret.LeaseID, Renewable: secret.Renewable,
		LeaseDuration: time.Duration(secret.LeaseDuration) * time.Second,
	}
}

// FromData takes the data of an answer as the engine makes it, and brings it
// into the form that it has when it comes from Vault.
func FromData(data map[string]any) (Answer, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return Answer{}, err
	}
	var a Answer
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return a, decoder.Decode(&a.Data)
}

// Secrets are the client secrets of an answer, in order.
func (a Answer) Secrets() []string {
	list, _ := a.Data["client_secrets"].([]any)
	secrets := make([]string, 0, len(list))
	for _, each := range list {
		if secret, ok := each.(string); ok {
			secrets = append(secrets, secret)
		}
	}
	return secrets
}

// number is a number of an answer's data; false: there is none.
func (a Answer) number(field string) (int64, bool) {
	text, ok := a.Data[field].(json.Number)
	if !ok {
		return 0, false
	}
	n, err := text.Int64()
	return n, err == nil
}

// Vault is what a reader does with its surroundings.
type Vault interface {
	// Read reads the path once.
	Read(ctx context.Context) (Answer, error)
	// Deliver hands what was read to the application. Changed: the reader takes
	// it to differ from what it delivered before, and would restart workloads.
	Deliver(a Answer, changed bool)
	// Failed is told of an error that the reader would report to its user.
	Failed(err error)
}

// Reader is a program that reads again and again, until the context ends.
type Reader interface {
	Run(ctx context.Context, v Vault)
}

// jitter is a number in [0,1) that spreads reads.
func jitter() float64 { return rand.Float64() } //nolint:gosec // guards nothing

// pause waits. False: the context has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
