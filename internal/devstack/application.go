package devstack

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strconv"
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

// Application is a small application that logs in again and again, as applications
// are meant to: with package auth0login. It begins no login before the last one has
// ended, so that a busy machine makes them fewer, and not slower.
type Application struct {
	Source auth0login.Source // such as the file that Vault Agent renders
	Domain string            // of its tenant, for auth0login.Domain; "": of any
	Every  time.Duration     // between the beginnings of two logins, at least
	HTTP   *http.Client      // trusts the tenant
	Prefix string            // makes its login IDs different from others'
	// LeaseEnd is when the lease ends of what Source gives now; nil: it has none. A login
	// that is refused after that goes on: its reader came late, as on a busy machine, and
	// the engine has promised nothing for so long.
	LeaseEnd func() time.Time
}

// Start has the application log in until the context ends or it is stopped. stop waits
// for the login under way.
func (a *Application) Start(ctx context.Context) (stop func()) { return inBackground(ctx, a.run) }

// inBackground runs something until the context ends or it is stopped. stop waits for it.
func inBackground(ctx context.Context, run func(context.Context)) (stop func()) {
	ctx, end := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run(ctx)
	}()
	return func() {
		end()
		<-ended
	}
}

// run logs in until the context ends.
func (a *Application) run(ctx context.Context) {
	var options []auth0login.Option
	if a.Domain != "" {
		options = append(options, auth0login.Domain(a.Domain))
	}
	app := auth0login.New(a.Source, options...)
	ticker := time.NewTicker(a.Every)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.login(context.WithoutCancel(ctx), app, a.Prefix+strconv.Itoa(n))
		}
	}
}

// login gets one token. The tenant counts what comes of it: all attempts have the
// ID of the login, and one for which all secrets were refused says so.
func (a *Application) login(ctx context.Context, app *auth0login.Application, id string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	marked := *a.HTTP
	marked.Timeout, marked.Transport = 10*time.Second, marker{id: id, next: a.HTTP.Transport}
	tokens := app.ClientCredentials(context.WithValue(ctx, oauth2.HTTPClient, &marked), clientcredentials.Config{
		EndpointParams: url.Values{"audience": {"https://api.example.com/"}},
	})
	for ctx.Err() == nil {
		end := time.Now().Add(time.Hour)
		if a.LeaseEnd != nil {
			end = a.LeaseEnd()
		}
		_, err := tokens.Token()
		switch {
		case err == nil:
			return
		case errors.Is(err, auth0login.ErrRefused) && time.Now().Before(end):
			a.giveUp(ctx, id)
			return
		}
		time.Sleep(20 * time.Millisecond) // no answer, such as on a machine that is busy: the same login goes on
	}
}

// giveUp tells the tenant that no other attempt follows.
func (a *Application) giveUp(ctx context.Context, id string) {
	c, err := a.Source.Credentials(ctx)
	if err != nil {
		return
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: marker{id: id, last: true, next: a.HTTP.Transport}}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.ClientID}, "client_secret": {"none is left"}}
	if resp, err := client.PostForm("https://"+c.Domain+"/oauth/token", form); err == nil { //nolint:noctx // it has a time-out
		_ = resp.Body.Close()
	}
}

// marker marks the requests of one login.
type marker struct {
	id   string
	last bool
	next http.RoundTripper
}

// RoundTrip sends a marked copy: a request that is not one's own is not changed.
func (m marker) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set(headerLoginID, m.id)
	req.Header.Set(headerLoginLast, strconv.FormatBool(m.last))
	return m.next.RoundTrip(req)
}

// LeaseEnd is when the lease ends of the credentials in a file of [Stack.StartAgent]. It
// is long ago if the file cannot be read.
func LeaseEnd(file string) func() time.Time {
	return func() time.Time {
		var lease struct {
			RenderedAt    int64 `json:"rendered_at"`
			LeaseDuration int64 `json:"lease_duration"`
		}
		if text, err := os.ReadFile(file); err == nil { //nolint:gosec // the caller's own file
			_ = json.Unmarshal(text, &lease)
		}
		return time.Unix(lease.RenderedAt+lease.LeaseDuration, 0)
	}
}
