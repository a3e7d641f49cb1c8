package reread

import (
	"context"
	"reflect"
	"time"
)

// Template is consul-template, and so the templating of Vault Agent and of the
// Agent Injector.
type Template struct{}

var _ Reader = Template{}

const (
	// Of a lease that cannot be renewed, consul-template waits for nine tenths,
	// give or take a twentieth.
	leaseThreshold = 0.9
	leaseSpread    = 0.1
	// rotationCushion is added to ttl.
	rotationCushion = time.Second
	// defaultLease is used where an answer says nothing.
	defaultLease = 5 * time.Minute
	// A failed read is tried again after a quarter of a second, doubled each
	// time up to a minute.
	templateBackoff    = 250 * time.Millisecond
	templateBackoffMax = time.Minute
)

// Run reads and renders.
func (Template) Run(ctx context.Context, v Vault) {
	backoff := templateBackoff
	var rendered map[string]any
	for {
		answer, err := v.Read(ctx)
		if err != nil {
			v.Failed(err)
			if !pause(ctx, backoff) {
				return
			}
			backoff = min(2*backoff, templateBackoffMax)
			continue
		}
		backoff = templateBackoff
		v.Deliver(answer, rendered != nil && !reflect.DeepEqual(rendered, answer.Data))
		rendered = answer.Data
		if !pause(ctx, templateWait(answer)) {
			return
		}
	}
}

// templateWait is how long consul-template waits with an answer that cannot be
// renewed. With rotation_period, and without a lease, ttl is all that counts.
func templateWait(a Answer) time.Duration {
	if _, rotates := a.Data["rotation_period"]; rotates && a.LeaseID == "" {
		if ttl, ok := a.number("ttl"); ok {
			return time.Duration(ttl)*time.Second + rotationCushion
		}
	}
	lease := a.LeaseDuration
	if lease <= 0 {
		lease = defaultLease
	}
	return time.Duration(float64(lease) * (leaseThreshold + (jitter()-0.5)*leaseSpread))
}
