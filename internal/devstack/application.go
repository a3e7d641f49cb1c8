package devstack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"vault-plugin-secrets-auth0/auth0login"
)

// Headers by which the tenant knows which attempts are one login.
const (
	headerLoginID   = "X-Login-Id"
	headerLoginLast = "X-Login-Last"
)

// Template renders the credentials of a role as JSON.
func Template(mount, role string) string {
	return fmt.Sprintf(`{{ with secret "%s/creds/%s" }}{{ .Data | toJSON }}{{ end }}`, mount, role)
}

// Application is a small application that logs in again and again, as applications
// are meant to: with package auth0login.
type Application struct {
	Source auth0login.Source // such as the file that Vault Agent renders
	Domain string            // of its tenant, for auth0login.Domain; "": of any
	Every  time.Duration     // between the beginnings of two logins
	HTTP   *http.Client      // trusts the tenant
	Prefix string            // makes its login IDs different from others'

	started atomic.Int64
}

// Run logs in until the context ends, and waits for logins under way.
func (a *Application) Run(ctx context.Context) {
	var options []auth0login.Option
	if a.Domain != "" {
		options = append(options, auth0login.Domain(a.Domain))
	}
	app := auth0login.New(a.Source, options...)
	ticker := time.NewTicker(a.Every)
	defer ticker.Stop()
	var logins sync.WaitGroup
	defer logins.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			logins.Go(func() { a.login(context.WithoutCancel(ctx), app) })
		}
	}
}

// login gets one token. The tenant counts what comes of it: all attempts have the
// ID of the login, and one for which all secrets were refused says so.
func (a *Application) login(ctx context.Context, app *auth0login.Application) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	id := a.Prefix + strconv.FormatInt(a.started.Add(1), 10)
	marked := *a.HTTP
	marked.Timeout, marked.Transport = 10*time.Second, marker{id: id, next: a.HTTP.Transport}
	tokens := app.ClientCredentials(context.WithValue(ctx, oauth2.HTTPClient, &marked), clientcredentials.Config{
		EndpointParams: url.Values{"audience": {"https://api.example.com/"}},
	})
	for ctx.Err() == nil {
		_, err := tokens.Token()
		if errors.Is(err, auth0login.ErrRefused) {
			a.giveUp(ctx, id)
		}
		if err == nil || errors.Is(err, auth0login.ErrRefused) {
			return
		}
		// No answer, such as on a machine that is busy: the same login goes on.
	}
}

// giveUp tells the tenant that no other attempt follows.
func (a *Application) giveUp(ctx context.Context, id string) {
	c, err := a.Source.Credentials(ctx)
	if err != nil {
		return
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.ClientID}, "client_secret": {"none is left"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+c.Domain+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set(headerLoginID, id)
	req.Header.Set(headerLoginLast, "true")
	if resp, err := a.HTTP.Do(req); err == nil {
		_ = resp.Body.Close()
	}
}

// marker marks the requests of one login.
type marker struct {
	id   string
	next http.RoundTripper
}

// RoundTrip sends a marked copy: a request that is not one's own is not changed.
func (m marker) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set(headerLoginID, m.id)
	return m.next.RoundTrip(req)
}
