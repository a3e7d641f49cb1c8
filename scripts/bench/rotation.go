package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"

	"vault-plugin-secrets-auth0/internal/tenant"
)

const (
	// The limit of a paid tenant, in requests a second, and how many it takes at
	// once.
	paidRate, paidBurst = 16, 50
	// rotationSpeed is by how much the limit is scaled up, so that the rotation of
	// all roles does not take hours.
	rotationSpeed = 20
	// rotationPatience is when the rotation of all roles has failed.
	rotationPatience = 5 * time.Minute

	// The reads beside a rotation at the true rate: roles that are rotated,
	// phases with and without, and how long a phase is read in.
	besideRoles, besideCycles, besidePhase = 250, 4, 8 * time.Second
	besideConnections                      = 16
)

// rotationResult is what the rotation of many roles at once has shown.
type rotationResult struct {
	Roles       int            `json:"roles"`
	RateLimit   float64        `json:"rate_limit_per_second"`
	Burst       int            `json:"burst"`
	Scale       int            `json:"scale"` // of the rate limit, to that of a paid tenant
	Took        time.Duration  `json:"took_ns"`
	Requests    map[string]int `json:"requests"`
	PerRotation float64        `json:"requests_per_rotation"` // to the Management API
	Tokens      int            `json:"token_requests"`
	RateUsed    float64        `json:"rate_used"`
	TurnedAway  float64        `json:"turned_away"`         // share of the requests that were answered 429
	CPU         time.Duration  `json:"cpu_per_rotation_ns"` // of Vault and its plugins
	Lost        int            `json:"lost"`                // roles that were not rotated, or do not serve what Auth0 has
	ReadsBeside interval       `json:"reads_beside"`
	BesideRate  float64        `json:"reads_beside_rotations_per_second"`
	BesideReads float64        `json:"reads_beside_per_second"`
	// BesideTurnedAway is as TurnedAway, at a paid tenant's own rate.
	BesideTurnedAway float64       `json:"reads_beside_turned_away"`
	FirstOne         time.Duration `json:"first_read_one_role_ns"`
	FirstMany        time.Duration `json:"first_read_many_roles_ns"`
}

// rotateMany rotates all roles of the mount that has many at once.
func rotateMany(ctx context.Context, s *stack, r *report) error {
	roles := len(s.apps)
	result := &r.Rotation
	result.Roles, result.Scale = roles, rotationSpeed
	result.RateLimit, result.Burst = paidRate*rotationSpeed, paidBurst*rotationSpeed
	s.Tenant.SetRateLimit(tenant.RateLimit{PerSecond: result.RateLimit, Burst: result.Burst})
	defer s.Tenant.SetRateLimit(tenant.RateLimit{})
	before, cpu := s.Tenant.Stats(), s.cpuTime()
	began := time.Now()
	if err := s.write(ctx, mountMany+"/rotate-all", map[string]any{"force": true}); err != nil {
		return err
	}
	var after tenant.Stats
	for said := began; ; {
		after = s.Tenant.Stats()
		done := after.Requests[setSecret] - before.Requests[setSecret]
		if done >= roles {
			break
		}
		if time.Since(began) > rotationPatience {
			return fmt.Errorf("only %d of %d roles rotated in %s", done, roles, rotationPatience)
		}
		if time.Since(said) > 5*time.Second {
			said = time.Now()
			say("  %d of %d roles rotated", done, roles)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	result.Took, result.CPU = time.Since(began), (s.cpuTime()-cpu)/time.Duration(roles)
	result.Requests = requestsSince(before, after)
	total := 0
	for _, n := range result.Requests {
		total += n
	}
	turnedAway := after.RateLimited - before.RateLimited
	result.PerRotation = float64(total) / float64(roles)
	result.Tokens = after.ManagementTokens.Issued - before.ManagementTokens.Issued
	result.RateUsed = float64(total-turnedAway-result.Burst) / (result.Took.Seconds() * result.RateLimit)
	result.TurnedAway = float64(turnedAway) / float64(total)
	return s.countLost(ctx, result)
}

// setSecret is how the tenant counts the requests that rotate.
const setSecret = "PATCH /api/v2/clients/{id} 200"

// requestsSince are the requests to the Management API, by kind and status.
func requestsSince(before, after tenant.Stats) map[string]int {
	since := maps.Clone(after.Requests)
	for kind, n := range before.Requests {
		since[kind] -= n
	}
	maps.DeleteFunc(since, func(kind string, n int) bool { return n == 0 || kind == "POST /oauth/token 200" })
	return since
}

func (s *stack) countLost(ctx context.Context, result *rotationResult) error {
	var lost atomic.Int64
	err := inParallel(len(s.apps), func(i int) error {
		served, err := s.read(ctx, mountMany+"/static-creds/"+roleName(i))
		secret := s.Tenant.Secret(s.apps[i].ClientID)
		if err == nil && (served["client_secret"] != secret || secret == s.apps[i].ClientSecret) {
			lost.Add(1)
		}
		return err
	})
	result.Lost = int(lost.Load())
	return err
}

// readBeside reads credentials of roles while they are rotated at the true rate
// of a paid tenant, and while they are not, by turns; with a lease and without.
func readBeside(ctx context.Context, o options, s *stack, r *report) error {
	if _, err := s.fillMount(ctx, mountBeside, besideRoles); err != nil {
		return err
	}
	s.Tenant.SetRateLimit(tenant.RateLimit{PerSecond: paidRate, Burst: paidBurst})
	defer s.Tenant.SetRateLimit(tenant.RateLimit{})
	l := newLoad(s.Vault.Token(), besideConnections)
	defer l.close()
	role := func(path string) func(int) string {
		return func(n int) string {
			return s.Vault.Addr() + "/v1/" + mountBeside + path + roleName(n*7919%besideRoles)
		}
	}
	reads := []target{{staticMany, role("/static-creds/")}, {credsMany, role("/creds/")}}
	phase := func() (rates []float64, err error) {
		for end, n := time.Now().Add(besidePhase), 0; time.Now().Before(end); n++ {
			slice, err := l.run(ctx, reads[n%len(reads)], o.slice)
			if err != nil {
				return nil, err
			}
			rates = append(rates, slice.rate())
		}
		return rates, nil
	}
	var with, without []float64
	atFirst := s.Tenant.Stats()
	rotations, took := 0, time.Duration(0)
	for range besideCycles {
		quiet, err := phase()
		if err != nil {
			return err
		}
		before, began := s.Tenant.Stats().Requests[setSecret], time.Now()
		if err := s.write(ctx, mountBeside+"/rotate-all", map[string]any{"force": true}); err != nil {
			return err
		}
		busy, err := phase()
		if err != nil {
			return err
		}
		rotations, took = rotations+s.Tenant.Stats().Requests[setSecret]-before, took+time.Since(began)
		n := min(len(quiet), len(busy))
		with, without = append(with, busy[:n]...), append(without, quiet[:n]...)
		if err := s.untilRotated(ctx, mountBeside); err != nil {
			return err
		}
	}
	since := s.Tenant.Stats()
	r.Rotation.BesideTurnedAway = float64(since.RateLimited-atFirst.RateLimited) / float64(since.Requests[setSecret]-atFirst.Requests[setSecret])
	r.Rotation.ReadsBeside = ratio(pair{with, without})
	r.Rotation.BesideRate = float64(rotations) / took.Seconds()
	r.Rotation.BesideReads = mean(with)
	return nil
}

func (s *stack) untilRotated(ctx context.Context, mount string) error {
	for {
		progress, err := s.read(ctx, mount+"/rotate-all")
		if err != nil || progress["finished_at"] != nil {
			return err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// firstReads reloads the plugin for the mount with one role and for the one with
// many, and reads at once: how long until there are credentials.
func firstReads(ctx context.Context, s *stack, r *report) error {
	const times = 15
	took := map[string][]time.Duration{}
	for i := range times {
		mounts := []string{mountOne, mountMany}
		if i%2 == 1 { // who comes first may find the process gone
			slices.Reverse(mounts)
		}
		for _, mount := range mounts {
			began := time.Now()
			_, err := s.Vault.Client().Sys().ReloadPluginWithContext(ctx, &api.ReloadPluginInput{Mounts: []string{mount + "/"}})
			if err != nil {
				return err
			}
			if _, err := s.read(ctx, mount+"/static-creds/"+roleName(0)); err != nil {
				return err
			}
			took[mount] = append(took[mount], time.Since(began))
			if err := sleep(ctx, time.Second); err != nil { // what is loaded in the background does not disturb the next
				return err
			}
		}
	}
	r.Rotation.FirstOne, r.Rotation.FirstMany = time.Duration(median(took[mountOne])), time.Duration(median(took[mountMany]))
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
