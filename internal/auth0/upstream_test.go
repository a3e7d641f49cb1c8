package auth0

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWhatFollowsAnAnswerIsNotLogged: net/http quotes it in the log of the standard
// library, and by the plugin's stderr it would get into Vault's log.
func TestWhatFollowsAnAnswerIsNotLogged(t *testing.T) {
	var out bytes.Buffer
	defer log.SetOutput(log.Writer())
	log.SetOutput(&out)
	log.Print("seen")
	QuietStandardLog()
	const next = "ig-2_Y-qR38zMv6JjwQlBKAC14r6hNXWqlxw87GyPnfABsN15NNN"
	var closed sync.WaitGroup
	closed.Add(1)
	tn := newTenant(t, func(w http.ResponseWriter, r *http.Request) {
		defer closed.Done()
		body, _ := io.ReadAll(r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		_, _ = io.WriteString(conn, whole("200 OK", openObject)+whole("400 Bad Request", "not valid: "+string(body)))
		_, _ = io.Copy(io.Discard, conn) // until the client closes it
		_ = conn.Close()
	})
	require.NoError(t, tn.client(t).SetSecret(t.Context(), appID, next))
	closed.Wait()
	assert.Contains(t, out.String(), "seen")
	assert.NotContains(t, out.String(), next)
}

// TestTextsAreFitToBeShown, the client ID of a list among them.
func TestTextsAreFitToBeShown(t *testing.T) {
	const bad = `x\u001b[31m\u202e`
	tn := newTenant(t, func(w http.ResponseWriter, r *http.Request) {
		object(w, r, fmt.Sprintf(`{"client_id":"%s","token_endpoint_auth_method":"%s","client_authentication_methods":{"%s":{}},
			"jwt_configuration":{"alg":"%s"}}`, bad, bad, bad, bad))
	})
	tn.grants(ScopeReadClientKeys)
	page, err := tn.client(t).Applications(t.Context(), 0, 1)
	require.NoError(t, err)
	app := page.Applications[0]
	assert.Equal(t, plain(app.ClientID), app.ClientID)
	assert.Equal(t, plain(app.AppType), app.AppType)
}

// TestWhatWasRefusedIsNotAskedForAgain with the same token, which all calls share and
// the refusal does not cost.
func TestWhatWasRefusedIsNotAskedForAgain(t *testing.T) {
	tn := newTenant(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Query().Get("fields"), "client_secret") {
			reply(w, 403, refusal(403, CodeInsufficientScope, "You cannot read the following fields: client_secret"))
			return
		}
		object(w, r, openObject)
	})
	tn.grants()
	c := tn.client(t)
	for range 5 {
		app, err := c.Application(t.Context(), appID)
		require.NoError(t, err)
		assert.True(t, app.Hides("client_secret"))
	}
	tokens, calls := tn.counts()
	assert.Equal(t, 1, tokens)
	assert.Equal(t, 6, calls)
}
