package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// scene tells what happens, with the time since the beginning.
type scene struct {
	stack *devstack.Stack
	apps  map[string]tenant.Application // by role
	began time.Time
	names map[string]string // secret -> how the timeline calls it
	last  string            // what the timeline showed last
	// service is the one with a token, once it has begun.
	service *devstack.Service
}

func newScene(stack *devstack.Stack) *scene {
	return &scene{stack: stack, began: time.Now(), apps: map[string]tenant.Application{}, names: map[string]string{}}
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

// onboard configures the engine and makes roles of the applications.
func (s *scene) onboard(ctx context.Context) error {
	s.command("write auth0/config domain=%s client_id=... client_secret=...", s.stack.Tenant.Domain())
	config := s.stack.Config()
	config["propagation_delay"] = (propagation + time.Second).String()
	if _, err := s.stack.Write(ctx, "config", config); err != nil {
		return err
	}
	for _, name := range []string{role, oneRole} {
		s.apps[name] = s.stack.Tenant.AddApplication(tenant.Application{Name: name})
		s.command("write auth0/roles/%s client_id=%s ttl=%s        (imports the present secret, rotates nothing)", name, s.apps[name].ClientID, ttl)
		if _, err := s.stack.Write(ctx, "roles/"+name, map[string]any{"client_id": s.apps[name].ClientID, "ttl": ttl.String()}); err != nil {
			return err
		}
	}
	if err := s.onboardKey(ctx); err != nil {
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

// onboardKey makes a role of the application with a key. The key that it has had goes.
func (s *scene) onboardKey(ctx context.Context) error {
	app := s.stack.Tenant.AddApplication(tenant.Application{Name: keyRole})
	own := s.stack.Tenant.AddCredential(app.ClientID, tenant.PrivateKeyJWT)
	s.apps[keyRole] = app
	s.command("write auth0/roles/%s client_id=%s credential_type=private_key        (registers a key of its own)", keyRole, app.ClientID)
	_, err := s.stack.Write(ctx, "roles/"+keyRole, map[string]any{"client_id": app.ClientID, "credential_type": "private_key"})
	s.stack.Tenant.DisableCredential(app.ClientID, tenant.PrivateKeyJWT, own.ID)
	return err
}

// assertions has Vault sign each attempt.
func (s *scene) assertions() auth0login.Source {
	return auth0login.SourceFunc(func(ctx context.Context) (auth0login.Credentials, error) {
		read, err := s.stack.Read(ctx, "assertions/"+keyRole)
		if err != nil {
			return auth0login.Credentials{}, err
		}
		text, err := json.Marshal(read.Data)
		if err != nil {
			return auth0login.Credentials{}, err
		}
		return auth0login.ParseCredentials(text)
	})
}

// emergency rotates by force, beside a service that it starts. It gives the logins with
// both secrets since.
func (s *scene) emergency(ctx context.Context, leaseEnd func() time.Time) (logins tenant.LoginStats, _ *devstack.Service, err error) {
	service, err := s.serve(ctx)
	if err != nil {
		return logins, nil, err
	}
	defer service.Stop()
	middle := time.Until(leaseEnd().Add(-ttl / 2))
	if middle < 0 { // of the next one: the Agent reads again when nine tenths are over
		middle += ttl * 9 / 10
	}
	if err := s.watch(ctx, middle); err != nil {
		return logins, nil, err
	}
	s.command("write auth0/rotate/%s force=true        (an emergency, in the middle of a lease: do not wait for its end)", role)
	before := s.logins(role)
	if err := s.rotate(ctx, role, map[string]any{"force": true}); err != nil {
		return logins, nil, err
	}
	err = s.watch(ctx, ttl)
	logins = s.logins(role)
	logins.Accepted, logins.Refused = logins.Accepted-before.Accepted, logins.Refused-before.Refused
	return logins, service, err
}

// serve starts the service, which asks Vault for the token before each call.
func (s *scene) serve(ctx context.Context) (*devstack.Service, error) {
	s.command("write auth0/token-roles/%s role=%s audience=%s        (tokens that %s may have)", tokenRole, role, tenant.DefaultAPI, role)
	if _, err := s.stack.Write(ctx, "token-roles/"+tokenRole, map[string]any{"role": role, "audience": tenant.DefaultAPI}); err != nil {
		return nil, err
	}
	s.service = s.stack.StartService(ctx, s.tokens(ctx), tenant.DefaultAPI, "", loginEvery)
	s.say("A service calls this API. It holds no secret: before each call it asks %s for a token (read auth0/tokens/%s).", s.stack.Vault.Product(), tokenRole)
	return s.service, nil
}

// tokens reads the access token from Vault.
type tokens func() (*oauth2.Token, error)

// Token reads it.
func (t tokens) Token() (*oauth2.Token, error) { return t() }

func (s *scene) tokens(ctx context.Context) tokens {
	return func() (*oauth2.Token, error) {
		lease, err := s.stack.Read(ctx, "tokens/"+tokenRole)
		if err != nil {
			return nil, err
		}
		return devstack.TokenOf(lease.Data)
	}
}

// oneSecret gives the secret to try first, and no other, and reads it again when its
// lease has ended.
func (s *scene) oneSecret(ctx context.Context) auth0login.Source {
	var held auth0login.Credentials
	var end time.Time
	return auth0login.SourceFunc(func(context.Context) (auth0login.Credentials, error) {
		if time.Now().Before(end) {
			return held, nil
		}
		began := time.Now()
		lease, err := s.stack.Read(ctx, "creds/"+oneRole)
		if err != nil {
			return held, err
		}
		text, err := json.Marshal(lease.Data)
		if err != nil {
			return held, err
		}
		held, err = auth0login.ParseCredentials(text)
		if err == nil {
			held.ClientSecrets = held.ClientSecrets[:1]
			end = began.Add(time.Duration(lease.LeaseDuration) * time.Second)
		}
		return held, err
	})
}

// logIn starts an application.
func (s *scene) logIn(ctx context.Context, source auth0login.Source, name string, leaseEnd func() time.Time) (stop func()) {
	app := &devstack.Application{
		Source: source, Domain: s.stack.Tenant.Domain(), Every: loginEvery, HTTP: s.stack.Tenant.HTTPClient(), Prefix: name + "-", LeaseEnd: leaseEnd,
	}
	return app.Start(ctx)
}

// logins are those of an application until now.
func (s *scene) logins(name string) tenant.LoginStats {
	return s.stack.Tenant.Stats().PerApplication[s.apps[name].ClientID]
}

func (s *scene) rotate(ctx context.Context, name string, data map[string]any) error {
	answer, err := s.stack.Write(ctx, "rotate/"+name, data)
	if err != nil {
		return err
	}
	for _, warning := range answer.Warnings {
		fmt.Println("        warning:", warning)
	}
	return nil
}

// watch prints a line whenever something has changed, and every two seconds, for at
// least some time and until the roles are steady.
func (s *scene) watch(ctx context.Context, least time.Duration) error {
	began, printed := time.Now(), time.Time{}
	for {
		line, steady := "", true
		for _, name := range []string{role, oneRole} {
			status, err := s.stack.Read(ctx, "roles/"+name)
			if err != nil {
				return err
			}
			static, err := s.stack.Read(ctx, "static-creds/"+name)
			if err != nil {
				return err
			}
			steady = steady && status.Data["phase"] == "steady"
			if name == role {
				line = s.line(status.Data["phase"], static.Data["client_secrets"])
			}
		}
		if line != s.last || time.Since(printed) >= 2*time.Second {
			two := s.logins(role)
			fmt.Printf("%5.1fs  %s   with both: %4d logins, %2d fell back, %d refused   %s\n", time.Since(s.began).Seconds(),
				line, two.Accepted+two.Refused, two.FellBack, two.Refused, s.other())
			s.last, printed = line, time.Now()
		}
		if time.Since(began) >= least && steady {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// other is what came of the application with one secret, and later of the service.
func (s *scene) other() string {
	if s.service != nil {
		calls := s.service.Calls()
		return fmt.Sprintf("with a token: %4d calls, %d refused", calls.Accepted+calls.Refused, calls.Refused)
	}
	one := s.logins(oneRole)
	return fmt.Sprintf("with one: %4d logins, %d refused", one.Accepted+one.Refused, one.Refused)
}

func (s *scene) line(phase, served any) string {
	secrets, _ := served.([]any)
	names := make([]string, 0, len(secrets))
	for _, secret := range secrets {
		names = append(names, s.name(fmt.Sprint(secret)))
	}
	return fmt.Sprintf("%-11s  served: %-5s Auth0 has: %s", phase, strings.Join(names, ", "), s.name(s.stack.Tenant.Secret(s.apps[role].ClientID)))
}
