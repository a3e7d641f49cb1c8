package conformance

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"vault-plugin-secrets-auth0/internal/requirements"
)

const (
	// NamePrefix begins the name of every application that a run makes.
	NamePrefix = "vault-conformance-"

	description = "Made by the conformance suite of vault-plugin-secrets-auth0, which removes it again"

	// promised is Auth0's word for how long a new secret takes at most, and the default
	// of propagation_delay.
	promised = 30 * time.Second

	cleanupPatience = time.Minute
	pageSize        = 100
	maxPages        = 10 // Auth0 lists no more
)

// ours matches the names of a run's applications: vault-conformance-<run>-<what for>.
var ours = regexp.MustCompile(`^` + NamePrefix + `[0-9a-f]{8}-[a-z-]+$`)

// Scopes of the Management API.
const (
	createClients     = "create:clients"
	deleteClients     = "delete:clients"
	createGrants      = "create:client_grants"
	readClients       = "read:clients"
	readKeys          = "read:client_keys"
	updateKeys        = "update:client_keys"
	readCredentials   = "read:client_credentials"
	createCredentials = "create:client_credentials"
	updateCredentials = "update:client_credentials"
	deleteCredentials = "delete:client_credentials"
)

// Scopes are all that a whole run needs.
var Scopes = []string{
	createClients, deleteClients, createGrants, readClients, readKeys, updateKeys,
	readCredentials, createCredentials, updateCredentials, deleteCredentials,
}

// Tenant is a tenant, and a credential of its Management API.
type Tenant struct {
	Domain       string // host or host:port
	ClientID     string // of a machine-to-machine application
	ClientSecret string
	Audience     string // of the Management API; "": https://<Domain>/api/v2/
	CACert       string // PEM; "": the system's roots

	Pace     time.Duration // between two requests to the Management API; 0: 500ms
	Poll     time.Duration // between two looks at which secret is accepted; 0: 1s
	Promised time.Duration // how long a new secret takes at most; it is looked at for so long at least; 0: 30s
	Watch    time.Duration // how long that is looked at, at most; 0: 60s

	Say func(line string) // progress, without secrets; nil: nobody listens
}

// Application is a throw-away application.
type Application struct {
	ClientID     string
	ClientSecret string
	Audience     string // that it can get tokens for, if it was made with scopes
}

// Run is one pass over a tenant. It is for one goroutine.
type Run struct {
	tenant Tenant
	id     string // in the names of this run's applications
	http   *http.Client
	token  string
	scopes []string // nil: not known

	made      map[string]bool // IDs of the applications that there are
	unclear   bool            // there may be another: the answer was lost
	hidden    []string        // texts that are not shown, each before what stands for it
	notBefore time.Time       // when the Management API may be called again
	limited   int             // how many requests were turned away

	app     once[Application] // logs in by a secret and may read applications
	bare    once[Application] // has no grant
	web     once[Application] // may not use client_credentials
	read    once[string]      // a token of app
	changed once[change]      // what was seen when a secret was changed
	keyed   once[keyApplication]
}

// Open logs in, and removes what an earlier run has left. An error means that
// nothing can be tried here: credentials that do not work, or without the scopes to
// make and remove applications.
func Open(ctx context.Context, t Tenant) (*Run, error) {
	if base, err := url.Parse("https://" + t.Domain); err != nil || base.Host != t.Domain || t.Domain == "" {
		return nil, errors.New("the domain must be host or host:port, without scheme and path")
	}
	t.Audience = cmp.Or(t.Audience, "https://"+t.Domain+"/api/v2/")
	t.Pace = cmp.Or(t.Pace, 500*time.Millisecond)
	t.Poll = cmp.Or(t.Poll, time.Second)
	t.Promised = cmp.Or(t.Promised, promised)
	t.Watch = cmp.Or(t.Watch, time.Minute)
	client, err := newHTTPClient(t.CACert)
	if err != nil {
		return nil, err
	}
	r := &Run{tenant: t, id: randomHex(), http: client, made: map[string]bool{}}
	r.hide(t.ClientSecret, "[secret]")
	r.hide(t.ClientID, "[credential]")
	r.hide(t.Domain, "[domain]")

	begin := &trial{Run: r, ctx: ctx}
	got := begin.logIn(Application{ClientID: t.ClientID, ClientSecret: t.ClientSecret})
	begin.expect(http.StatusOK, got, "the credential does not get a token")
	if begin.err != nil {
		return nil, r.cleaned(begin.err)
	}
	r.token, r.scopes = got.text("access_token"), scopesOf(got)
	if missing := r.missing([]string{createClients, deleteClients}); len(missing) > 0 {
		return nil, fmt.Errorf("the credential lacks %s: nothing can be tried", strings.Join(missing, ", "))
	}
	if missing := r.missing(Scopes); len(missing) > 0 {
		r.say("the credential lacks %s: what needs them is not tried", strings.Join(missing, ", "))
	}
	if begin.sweep(ours.MatchString); begin.err != nil {
		r.say("what an earlier run may have left was not looked for: %s", r.clean(begin.err.Error()))
	}
	return r, nil
}

// Close removes what the run has made. It does so, for a minute at most, also after
// ctx has ended. An error names what is left over.
func (r *Run) Close(ctx context.Context) error {
	defer r.http.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupPatience)
	defer cancel()
	var left []error
	for id := range r.made {
		if err := r.remove(ctx, id); err != nil {
			left = append(left, fmt.Errorf("application %s is left over (%w): remove it in the dashboard, or run again", id, err))
		}
	}
	if r.unclear {
		end := &trial{Run: r, ctx: ctx}
		end.sweep(func(name string) bool { return strings.HasPrefix(name, NamePrefix+r.id+"-") })
		if end.err != nil {
			left = append(left, fmt.Errorf("an application %s%s-... may be left over: %w", NamePrefix, r.id, end.err))
		}
	}
	return errors.Join(left...)
}

// Missing are the scopes of Scopes that the credential lacks; nil also where Auth0
// does not say.
func (r *Run) Missing() []string { return r.missing(Scopes) }

func (r *Run) missing(wanted []string) []string {
	if r.scopes == nil {
		return nil
	}
	return requirements.Missing(wanted, r.scopes)
}

// Make makes an application for tests elsewhere, which logs in by its secret for
// the Management API and may read applications there.
func (r *Run) Make(ctx context.Context, name string) (Application, error) {
	t := &trial{Run: r, ctx: ctx}
	return t.make(name, machine, readClients), r.cleaned(t.err)
}

// HTTPClient trusts the tenant, and follows no redirects. Close ends its connections.
func (r *Run) HTTPClient() *http.Client { return r.http }

// machine are the settings of an application that logs in by its secret.
var machine = map[string]any{
	"app_type": "non_interactive", "grant_types": []string{"client_credentials"},
	"token_endpoint_auth_method": "client_secret_post",
}

// make makes an application, with a grant for the Management API if there are
// scopes, and waits until it can log in then, if it does so by its secret.
func (t *trial) make(name string, settings map[string]any, scopes ...string) Application {
	if t.err != nil {
		return Application{}
	}
	body := map[string]any{"name": NamePrefix + t.id + "-" + name, "description": description}
	maps.Copy(body, settings)
	got := t.api(http.MethodPost, "clients", body)
	if t.err != nil || got.status >= http.StatusInternalServerError {
		t.unclear = true // it may have been made all the same
	}
	t.expect(http.StatusCreated, got, "an application could not be made")
	app := Application{ClientID: got.text("client_id"), ClientSecret: got.text("client_secret"), Audience: t.tenant.Audience}
	if app.ClientID != "" {
		t.made[app.ClientID] = true
		t.hide(app.ClientID, "[application]")
	}
	bySecret := settings["token_endpoint_auth_method"] != nil
	if bySecret && app.ClientSecret == "" {
		t.fail(errors.New("the secret of a new application was not shown"))
	}
	if len(scopes) == 0 {
		return app
	}
	granted := t.api(http.MethodPost, "client-grants", map[string]any{"client_id": app.ClientID, "audience": app.Audience, "scope": scopes})
	t.expect(http.StatusCreated, granted, "an application could not be authorised for the Management API")
	if bySecret {
		t.await(app)
	}
	return app
}

// await waits until an application can log in, and gives the token.
func (t *trial) await(app Application) (token string) {
	for began := time.Now(); t.err == nil; t.sleep(t.tenant.Poll) {
		got := t.logIn(app)
		if got.status == http.StatusOK {
			return got.text("access_token")
		}
		if time.Since(began) > t.tenant.Watch {
			t.expect(http.StatusOK, got, "an application could not log in with its secret")
		}
	}
	return ""
}

// discard removes an application that a check has made. If that fails, Close does it.
func (t *trial) discard(app Application) {
	if t.made[app.ClientID] {
		_ = t.remove(t.ctx, app.ClientID)
	}
}

// remove removes an application that a run has made.
func (r *Run) remove(ctx context.Context, id string) error {
	if id == r.tenant.ClientID {
		return errors.New("that is the credential's own")
	}
	t := &trial{Run: r, ctx: ctx}
	got := t.api(http.MethodDelete, "clients/"+id, nil)
	if got.status != http.StatusNotFound {
		t.expect(http.StatusNoContent, got, "it could not be deleted")
	}
	if t.err == nil {
		delete(r.made, id)
	}
	return t.err
}

// sweep removes applications of this suite whose names match.
func (t *trial) sweep(matches func(name string) bool) {
	if len(t.missing([]string{readClients})) > 0 {
		t.fail(errors.New("the credential lacks " + readClients))
	}
	var found []string
	for page := range maxPages {
		got := t.api(http.MethodGet, fmt.Sprintf("clients?fields=client_id,name,description&include_fields=true&per_page=%d&page=%d", pageSize, page), nil)
		t.expect(http.StatusOK, got, "applications could not be listed")
		for _, each := range got.list {
			text := func(name string) string { s, _ := each[name].(string); return s }
			if matches(text("name")) && text("description") == description {
				found = append(found, text("client_id"))
			}
		}
		if len(got.list) < pageSize {
			break
		}
	}
	for _, id := range found {
		if err := t.remove(t.ctx, id); err != nil {
			t.fail(err)
			continue
		}
		t.say("removed an application that was left over: %s", id)
	}
}

func (r *Run) say(format string, args ...any) {
	if r.tenant.Say != nil {
		r.tenant.Say(fmt.Sprintf(format, args...))
	}
}

func (r *Run) hide(text, shown string) {
	if text != "" {
		r.hidden = append(r.hidden, text, shown)
	}
}

// clean takes secrets, tokens, IDs and the domain out of a text.
func (r *Run) clean(text string) string { return strings.NewReplacer(r.hidden...).Replace(text) }

func (r *Run) cleaned(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(r.clean(err.Error()))
}

func randomHex() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// newSecret is a secret as the engine makes them: 64 characters, URL-safe.
func (r *Run) newSecret() string {
	b := make([]byte, 48)
	_, _ = rand.Read(b)
	secret := base64.RawURLEncoding.EncodeToString(b)
	r.hide(secret, "[secret]")
	return secret
}

// FromEnvironment reads a Tenant from AUTH0_DOMAIN, AUTH0_CLIENT_ID,
// AUTH0_CLIENT_SECRET and, if they are set, AUTH0_AUDIENCE and AUTH0_CA_CERT, which
// names a file.
func FromEnvironment(getenv func(string) string) (Tenant, error) {
	t := Tenant{
		Domain: getenv("AUTH0_DOMAIN"), ClientID: getenv("AUTH0_CLIENT_ID"), ClientSecret: getenv("AUTH0_CLIENT_SECRET"),
		Audience: getenv("AUTH0_AUDIENCE"),
	}
	if t.Domain == "" || t.ClientID == "" || t.ClientSecret == "" {
		return Tenant{}, errors.New("AUTH0_DOMAIN, AUTH0_CLIENT_ID and AUTH0_CLIENT_SECRET say which tenant, and a machine-to-machine" +
			" application of it that may use the Management API with: " + strings.Join(Scopes, " "))
	}
	if file := getenv("AUTH0_CA_CERT"); file != "" {
		text, err := os.ReadFile(file) //nolint:gosec // whoever runs this says which file
		if err != nil {
			return Tenant{}, fmt.Errorf("AUTH0_CA_CERT: %w", err)
		}
		t.CACert = string(text)
	}
	return t, nil
}
