package auth0

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAPanicWhileATokenIsFetched is one of the caller's goroutine, where somebody can
// recover from it.
func TestAPanicWhileATokenIsFetched(t *testing.T) {
	tc := &tokenCache{timeout: time.Second, fetch: func(context.Context) (*token, error) { panic("a defect") }}
	assert.PanicsWithValue(t, "a defect", func() { _, _ = tc.get(t.Context()) })
}

// oneByOne refuses the fields of hidden, and names only the first of them.
func oneByOne(hidden ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		asked := strings.Split(r.URL.Query().Get("fields"), ",")
		for _, field := range hidden {
			if slices.Contains(asked, field) {
				reply(w, 403, refusal(403, "insufficient_scope", "You cannot read the following fields: "+field))
				return
			}
		}
		reply(w, 200, `{"client_id":"`+appID+`","name":"shop","app_type":"spa","global":false}`)
	}
}

// TestFieldsRefusedOneByOne: the application can be read all the same.
func TestFieldsRefusedOneByOne(t *testing.T) {
	tn := newTenant(t, oneByOne("client_secret", "client_authentication_methods"))
	tn.grants() // scopes unknown
	app, err := tn.client(t).Application(t.Context(), appID)
	require.NoError(t, err)
	assert.Equal(t, "spa", app.AppType)
}
