package tenant

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Shape says what AddApplication fills in.
type Shape int

const (
	// Alternating makes every other one bare, the first one, too.
	Alternating Shape = iota
	// Bare is an application as API and Terraform make them: its object lacks
	// app_type, token_endpoint_auth_method and, in turn, jwt_configuration or only
	// the alg in it, unless they were given.
	Bare
	// Full is an application as the dashboard makes them.
	Full
)

// keysOnly is the kind of application that has no secret.
const keysOnly = "express_configuration"

// Application is an application ("client") of the tenant.
type Application struct {
	Shape        Shape  `json:"-"` // as it was made; changing it later changes nothing
	ClientID     string `json:"client_id"`
	Name         string `json:"name"`
	Description  string `json:"description"`
	ClientSecret string `json:"client_secret,omitempty"` // "" for express_configuration, which has none

	// AppType is native, spa, regular_web, non_interactive, resource_server,
	// sso_integration, express_configuration, or a legacy kind; "": absent.
	AppType string `json:"app_type,omitempty"`

	// TokenEndpointAuthMethod is client_secret_post, client_secret_basic or none;
	// "": absent. It and AuthenticationMethods exclude each other.
	TokenEndpointAuthMethod string `json:"token_endpoint_auth_method,omitempty"`
	// AuthenticationMethods has the keys private_key_jwt, tls_client_auth or
	// self_signed_tls_client_auth; empty: absent. With any of them a secret is of
	// no use.
	AuthenticationMethods map[string]any `json:"client_authentication_methods,omitempty"`

	// What these slots use.
	SignedRequestObject map[string]any `json:"signed_request_object,omitempty"`
	TokenVault          map[string]any `json:"token_vault_privileged_access,omitempty"`

	Global        bool     `json:"global"`
	ThirdParty    bool     `json:"-"` // is_first_party is false
	Alg           string   `json:"-"` // jwt_configuration.alg; "": absent, which means HS256
	SecretEncoded bool     `json:"-"` // jwt_configuration.secret_encoded
	GrantTypes    []string `json:"grant_types"`
	Callbacks     []string `json:"callbacks,omitempty"` // the redirect URIs that /authorize takes, compared as they are

	withoutJWT bool // no jwt_configuration as long as nothing in it is set
}

// public says whether the application cannot keep a secret, so has no use for
// one.
func (a Application) public() bool {
	return a.TokenEndpointAuthMethod == "none" ||
		a.TokenEndpointAuthMethod == "" && (a.AppType == "spa" || a.AppType == "native")
}

func (a Application) usesKey() bool {
	_, ok := a.AuthenticationMethods[string(PrivateKeyJWT)]
	return ok
}

func (a Application) clone() Application {
	a.AuthenticationMethods = maps.Clone(a.AuthenticationMethods)
	a.GrantTypes = slices.Clone(a.GrantTypes)
	a.Callbacks = slices.Clone(a.Callbacks)
	return a
}

// application is an Application with what the tenant knows of it.
type application struct {
	Application
	grants  map[string]Grant // by audience
	secrets []change         // in order; the last is the one that is set
	certs   int              // how many signing certificates there have been
	keys    []Credential     // the pool of credentials, in use or not
	seen    map[string]bool  // jti of assertions, each of which is good once

	keysUsed []keyChange // for private_key_jwt, in order; the last is what is set
}

// AddApplication adds an application that may log in for DefaultAPI, without a
// scope (see SetGrant), and gives it with what was filled in: its Shape, a
// random ClientID (32 alphanumerics) and ClientSecret (64 characters), all usual
// GrantTypes, and http://localhost:3000/callback as its callback. A Full one also
// gets AppType regular_web, Alg RS256, and client_secret_post (none for spa and
// native) unless it has AuthenticationMethods. It panics if the ClientID is taken.
func (t *Tenant) AddApplication(app Application) Application { return t.addApplication(nil, app) }

// AddApplicationWithKey is AddApplication for one that authenticates by private_key_jwt,
// with this public key (PEM) for RS256, RS384 or PS256. Its ClientSecret is of no use.
func (t *Tenant) AddApplicationWithKey(app Application, publicPEM, alg string) Application {
	return t.addApplication([]Credential{t.firstKey(publicPEM, alg)}, app)
}

func (t *Tenant) addApplication(keys []Credential, app Application) Application {
	t.mu.Lock()
	defer t.mu.Unlock()
	app = app.clone()
	app.ClientID = cmp.Or(app.ClientID, randomAlphanumerics(32))
	app.ClientSecret = cmp.Or(app.ClientSecret, randomText(64))
	app.Name = cmp.Or(app.Name, "application "+app.ClientID[:min(6, len(app.ClientID))])
	if app.AppType == keysOnly {
		app.ClientSecret = ""
	}
	if app.Shape == Alternating {
		app.Shape = Full
		if t.alternated++; t.alternated%2 == 1 {
			app.Shape = Bare
		}
	}
	if app.Shape == Bare {
		t.bare++
		app.withoutJWT = t.bare%2 == 1
	} else {
		app.AppType = cmp.Or(app.AppType, "regular_web")
		app.Alg = cmp.Or(app.Alg, "RS256")
		if len(app.AuthenticationMethods) == 0 && app.AppType != keysOnly {
			method := "client_secret_post"
			if app.public() {
				method = "none"
			}
			app.TokenEndpointAuthMethod = cmp.Or(app.TokenEndpointAuthMethod, method)
		}
	}
	if app.GrantTypes == nil {
		app.GrantTypes = usualGrants()
	}
	if app.Callbacks == nil {
		app.Callbacks = []string{"http://localhost:3000/callback"}
	}
	return t.addWith(keys, app, DefaultAPI, nil)
}

func usualGrants() []string { return []string{authorizationCode, refreshing, clientCredentials} }

// AddManagementApplication adds a non_interactive application that may get
// tokens for the Management API (Audience) with these scopes, and for nothing
// else.
func (t *Tenant) AddManagementApplication(granted ...string) Application {
	return t.addManagementApplication(nil, granted)
}

// AddKeyApplication is AddManagementApplication for one that authenticates by
// private_key_jwt, with this public key (PEM) for RS256, RS384 or PS256.
func (t *Tenant) AddKeyApplication(publicPEM, alg string, granted ...string) Application {
	return t.addManagementApplication([]Credential{t.firstKey(publicPEM, alg)}, granted)
}

// firstKey is the key of an application that somebody else has registered.
func (t *Tenant) firstKey(publicPEM, alg string) Credential {
	order := keyOrder{Credential{Name: "first", Type: "public_key", Alg: jose.SignatureAlgorithm(alg)}, publicPEM}
	key, err := order.credential(t.now())
	if err != nil {
		panic("simulated tenant: " + err.Error())
	}
	return key
}

func (t *Tenant) addManagementApplication(keys []Credential, granted scopes) Application {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.addWith(keys, Application{
		ClientID: randomAlphanumerics(32), ClientSecret: randomText(64), Name: "management application",
		AppType: "non_interactive", Alg: "RS256", GrantTypes: []string{clientCredentials}, TokenEndpointAuthMethod: "client_secret_post",
	}, t.Audience(), granted)
}

// addWith adds an application that uses these keys, if there are any, in place of its
// other methods. t.mu must be held.
func (t *Tenant) addWith(keys []Credential, app Application, audience string, granted scopes) Application {
	added := t.apps[t.add(app, audience, granted).ClientID]
	added.keys = keys
	for _, key := range keys {
		added.enable(PrivateKeyJWT, key.ID)
	}
	added.noteKeys(t.now(), Propagation{})
	return added.clone()
}

// add adds an application as it is. t.mu must be held.
func (t *Tenant) add(app Application, audience string, granted scopes) Application {
	if t.apps[app.ClientID] != nil {
		panic(fmt.Sprintf("simulated tenant: there is already an application %q", app.ClientID))
	}
	added := &application{Application: app, grants: map[string]Grant{audience: {Scopes: slices.Clone(granted)}}, certs: 1}
	if app.ClientSecret != "" {
		added.setSecret(app.ClientSecret, byAdding, t.now(), Propagation{})
	}
	t.apps[app.ClientID] = added
	t.order = append(t.order, app.ClientID)
	return app.clone()
}

// withApplication calls f for an application with t.mu held. It panics if there
// is none: a test that means another application is wrong.
func (t *Tenant) withApplication(clientID string, f func(*application)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.apps[clientID]
	if a == nil {
		panic(fmt.Sprintf("simulated tenant: there is no application %q", clientID))
	}
	f(a)
	a.noteKeys(t.now(), t.propagation)
}

// SetScopes grants an application these scopes of the Management API, in place
// of those it had. Tokens that it has keep theirs: see ExpireTokens.
func (t *Tenant) SetScopes(clientID string, granted ...string) {
	t.withApplication(clientID, func(a *application) { a.grants[t.Audience()] = Grant{Scopes: slices.Clone(granted)} })
}

// Scopes gives what an application may do with the Management API.
func (t *Tenant) Scopes(clientID string) (granted []string) {
	t.withApplication(clientID, func(a *application) { granted = slices.Clone(a.grants[t.Audience()].Scopes) })
	return granted
}

// RemoveApplication deletes an application. What it has counted stays.
func (t *Tenant) RemoveApplication(clientID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(clientID)
}

func (t *Tenant) remove(clientID string) {
	delete(t.apps, clientID)
	t.order = slices.DeleteFunc(t.order, func(id string) bool { return id == clientID })
}

// UpdateApplication changes an application's settings, all but its ClientID. A
// new ClientSecret is one that is set in the dashboard. change must not call
// the tenant.
func (t *Tenant) UpdateApplication(clientID string, change func(*Application)) {
	t.withApplication(clientID, func(a *application) {
		app := a.clone()
		change(&app)
		secret := app.ClientSecret
		app.ClientID, app.ClientSecret = clientID, a.ClientSecret
		a.Application = app.clone()
		if secret != a.ClientSecret {
			a.setSecret(secret, byDashboard, t.now(), t.propagation)
		}
	})
}

// SetSecretInDashboard sets a secret behind everybody's back. It propagates like
// any other.
func (t *Tenant) SetSecretInDashboard(clientID, secret string) {
	t.UpdateApplication(clientID, func(a *Application) { a.ClientSecret = secret })
}

// Applications gives all applications, in the order in which they were added.
func (t *Tenant) Applications() []Application {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Application, len(t.order))
	for i, id := range t.order {
		all[i] = t.apps[id].clone()
	}
	return all
}

// Secret gives the secret that is set now, "" if there is no such application.
// While it propagates an earlier one may still be accepted.
func (t *Tenant) Secret(clientID string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.apps[clientID]; a != nil {
		return a.ClientSecret
	}
	return ""
}

// SecretHistory gives all secrets that have been set, in order, also if one was
// set again; nil if there is no such application.
func (t *Tenant) SecretHistory(clientID string) (history []SecretChange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.apps[clientID]; a != nil {
		for _, c := range a.secrets {
			history = append(history, c.SecretChange)
		}
	}
	return history
}

// EverySecret gives all that must not turn up in a log: each client secret
// that any application has or had, and each token that an application was issued for
// itself (as far as it is remembered).
func (t *Tenant) EverySecret() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := slices.AppendSeq(slices.Collect(maps.Keys(t.tokens)), maps.Values(t.apiTokens))
	for _, app := range t.apps {
		for _, c := range app.secrets {
			all = append(all, c.Value)
		}
	}
	return all
}

// setSecret sets a secret. t.mu must be held, except for a new application.
func (a *application) setSecret(value, by string, now time.Time, p Propagation) {
	a.ClientSecret = value
	a.secrets = append(a.secrets, change{SecretChange{At: now, Value: value, By: by}, p})
}

// randomText gives n characters of the alphabet of Auth0's own secrets.
func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

// randomAlphanumerics gives n of them, at most 52.
func randomAlphanumerics(n int) string { return (rand.Text() + rand.Text())[:n] }
