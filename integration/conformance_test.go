//go:build integration

package integration

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/conformance"
)

// TestStagedRotationOnATenant is TestStagedRotationRefusesNoLogin on the tenant that
// AUTH0_DOMAIN names, a real one, with a throw-away application that logs in once a
// second: make conformance. If it is killed, the next run removes the application.
func TestStagedRotationOnATenant(t *testing.T) {
	if os.Getenv("AUTH0_DOMAIN") == "" {
		t.Skip("AUTH0_DOMAIN names no tenant")
	}
	at, err := conformance.FromEnvironment(os.Getenv)
	require.NoError(t, err)
	at.Say = func(line string) { t.Log(line) }
	run, err := conformance.Open(t.Context(), at)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, run.Close(context.Background())) })
	app, err := run.Make(t.Context(), "rotation")
	require.NoError(t, err)

	s := newSuite(t, "inmem")
	s.remember(at.ClientSecret)
	s.remember(app.ClientSecret)
	config := map[string]any{"domain": at.Domain, "client_id": at.ClientID, "client_secret": at.ClientSecret, "audience": app.Audience}
	if at.CACert != "" {
		config["ca_cert"] = at.CACert
	}
	s.write("config", config)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s", "client_secret": app.ClientSecret})
	file, err := s.StartAgent(t.Context(), "app")
	require.NoError(t, err)

	logins := newLogins(auth0login.New(auth0login.File(file)), run.HTTPClient(), app.Audience)
	defer logins.stop()
	require.Equal(t, "staged", s.write("rotate/app", nil).Data["phase"])
	s.awaitVersion("app", "2")
	s.awaitPhase("app", "steady")
	logins.stop()
	t.Logf("logins: %d, refused: %d, without an answer: %d", logins.accepted.Load(), logins.refused.Load(), logins.unclear.Load())
	assert.Greater(t, logins.accepted.Load(), int64(20))
	assert.Zero(t, logins.refused.Load())
}

// logins are those of an application, one a second.
type logins struct {
	accepted, refused, unclear atomic.Int64
	stop                       func()
}

func newLogins(app *auth0login.Application, client *http.Client, audience string) *logins {
	l := &logins{}
	ctx, end := context.WithCancel(context.WithValue(context.Background(), oauth2.HTTPClient, client))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			wanted := clientcredentials.Config{EndpointParams: url.Values{"audience": {audience}}}
			_, err := app.ClientCredentials(ctx, wanted).Token()
			switch {
			case err == nil:
				l.accepted.Add(1)
			case errors.Is(err, auth0login.ErrRefused):
				l.refused.Add(1)
			case ctx.Err() == nil:
				l.unclear.Add(1)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
	}()
	l.stop = func() { end(); <-done }
	return l
}
