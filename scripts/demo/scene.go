package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// scene tells what happens, with the time since the beginning.
type scene struct {
	stack *devstack.Stack
	app   tenant.Application
	began time.Time
	names map[string]string // secret -> how the timeline calls it
	last  string            // what the timeline showed last
}

func newScene(stack *devstack.Stack) *scene {
	return &scene{stack: stack, began: time.Now(), names: map[string]string{}}
}

func (s *scene) say(format string, args ...any) {
	fmt.Printf("\n%5.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// command tells which command does what comes next.
func (s *scene) command(format string, args ...any) {
	s.say("%s "+format, append([]any{s.stack.Vault.Command()}, args...)...)
}

// name calls secrets A, B, C in the order in which they turn up: the timeline
// shows no secret.
func (s *scene) name(secret string) string {
	if secret == "" {
		return "-"
	}
	if s.names[secret] == "" {
		s.names[secret] = string("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[len(s.names)%26])
	}
	return s.names[secret]
}

// onboard configures the engine and makes a role of an application.
func (s *scene) onboard(ctx context.Context) error {
	s.app = s.stack.Tenant.AddApplication(tenant.Application{Name: role})
	s.command("write auth0/config domain=%s client_id=... client_secret=...", s.stack.Tenant.Domain())
	config := s.stack.Config()
	config["propagation_delay"] = (propagation + time.Second).String()
	if _, err := s.stack.Write(ctx, "config", config); err != nil {
		return err
	}
	s.command("write auth0/roles/%s client_id=%s ttl=%s        (imports the present secret, rotates nothing)", role, s.app.ClientID, ttl)
	if _, err := s.stack.Write(ctx, "roles/"+role, map[string]any{"client_id": s.app.ClientID, "ttl": ttl.String()}); err != nil {
		return err
	}
	s.command("read auth0/creds/%s", role)
	lease, err := s.stack.Read(ctx, "creds/"+role)
	if err != nil {
		return err
	}
	fmt.Printf("        client_id %v, secret %s, lease of %d s, not renewable\n",
		lease.Data["client_id"], s.name(fmt.Sprint(lease.Data["client_secret"])), lease.LeaseDuration)
	return nil
}

// rotate starts a rotation and shows it until the old secret is gone, and for
// one lease more if it was forced. It returns the logins meanwhile.
func (s *scene) rotate(ctx context.Context, kind string, data map[string]any) (tenant.LoginStats, error) {
	before := s.stack.Tenant.Stats().Logins
	forced := data != nil
	if forced {
		s.command("write auth0/rotate/%s force=true               (an emergency: do not wait for leases)", role)
	} else {
		s.command("write -f auth0/rotate/%s                       (staged: hand out first, set when every lease has it)", role)
	}
	answer, err := s.stack.Write(ctx, "rotate/"+role, data)
	if err != nil {
		return tenant.LoginStats{}, err
	}
	for _, warning := range answer.Warnings {
		fmt.Println("        warning:", warning)
	}
	least := time.Duration(0)
	if forced {
		least = ttl
	}
	if err := s.watch(ctx, least, func(phase string) bool { return phase == "steady" }); err != nil {
		return tenant.LoginStats{}, fmt.Errorf("%s rotation: %w", kind, err)
	}
	after := s.stack.Tenant.Stats().Logins
	return tenant.LoginStats{Accepted: after.Accepted - before.Accepted, Refused: after.Refused - before.Refused}, nil
}

// watch prints a line whenever something has changed, and every two seconds,
// for at least some time and until the phase is the awaited one.
func (s *scene) watch(ctx context.Context, least time.Duration, until func(phase string) bool) error {
	began, printed := time.Now(), time.Time{}
	for {
		status, err := s.stack.Read(ctx, "roles/"+role)
		if err != nil {
			return err
		}
		static, err := s.stack.Read(ctx, "static-creds/"+role)
		if err != nil {
			return err
		}
		phase := fmt.Sprint(status.Data["phase"])
		line := s.line(phase, static.Data["client_secrets"])
		if line != s.last || time.Since(printed) >= 2*time.Second {
			s.print(line)
			s.last, printed = line, time.Now()
		}
		if time.Since(began) >= least && (until == nil || until(phase)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *scene) line(phase string, served any) string {
	var names []string
	if secrets, ok := served.([]any); ok {
		for _, secret := range secrets {
			names = append(names, s.name(fmt.Sprint(secret)))
		}
	}
	return fmt.Sprintf("%-11s  served: %-5s Auth0 has: %s", phase, strings.Join(names, ", "), s.name(s.stack.Tenant.Secret(s.app.ClientID)))
}

func (s *scene) print(line string) {
	logins := s.stack.Tenant.Stats().Logins
	fmt.Printf("%5.1fs  %s   logins: %5d  refused: %d\n", time.Since(s.began).Seconds(), line, logins.Accepted+logins.Refused, logins.Refused)
}
