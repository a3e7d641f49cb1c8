package auth0

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAccepts(t *testing.T) {
	good := replies(200, `{"access_token":"t","expires_in":60}`)
	denied, invalid := replies(401, `{"error":"access_denied","error_description":"Unauthorized"}`), replies(401, `{"error":"invalid_client"}`)
	forbidden := replies(403, `{"error":"access_denied","error_description":"Client is not authorized to access x"}`)
	html := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(401)
		_, _ = w.Write([]byte("<html>access_denied</html>"))
	}
	for name, tt := range map[string]struct {
		inBody, basic http.HandlerFunc
		accepted      bool
		class         string // of the error; "": none
		tries         int
	}{
		"in the body":              {good, hangUp, true, "", 1},
		"by Basic":                 {denied, good, true, "", 2},
		"by Basic, invalid_client": {invalid, good, true, "", 2},
		"neither":                  {denied, denied, false, "", 2},
		"neither, invalid_client":  {invalid, invalid, false, "", 2},
		"neither, mixed":           {denied, invalid, false, "", 2},
		"no grant":                 {forbidden, good, false, "refused", 1},
		"no grant by Basic":        {denied, forbidden, false, "refused", 2},
		"400 invalid_client":       {replies(400, `{"error":"invalid_client"}`), denied, false, "refused", 1},
		"another 401":              {replies(401, `{"error":"unauthorized_client"}`), denied, false, "refused", 1},
		"401 of another":           {replies(401, `{"message":"access_denied"}`), denied, false, "ambiguous", 1},
		"HTML 401":                 {html, denied, false, "ambiguous", 1},
		"HTML 401 by Basic":        {denied, html, false, "ambiguous", 2},
		"limited":                  {replies(429, `{"error":"access_denied"}`), denied, false, "limited", 1},
		"limited by Basic":         {denied, replies(429, `{"error":"too_many_requests"}`), false, "limited", 2},
		"a proxy limits":           {replies(429, `{}`), denied, false, "ambiguous", 1},
		"500":                      {replies(500, `{"error":"access_denied"}`), denied, false, "ambiguous", 1 + retryMax},
		"503 by Basic":             {denied, replies(503, ""), false, "ambiguous", 2 + retryMax},
		"lost":                     {hangUp, denied, false, "ambiguous", 1 + retryMax},
		"lost by Basic":            {denied, hangUp, false, "ambiguous", 2 + retryMax},
		"200 without a token":      {replies(200, `{}`), denied, false, "ambiguous", 1},
		"200 that is an error":     {replies(200, `{"error":"access_denied"}`), denied, false, "ambiguous", 1},
	} {
		t.Run(name, func(t *testing.T) {
			tn := newTenant(t, nil)
			tn.onToken(func(w http.ResponseWriter, r *http.Request) {
				id, secret, basic := r.BasicAuth()
				if !basic {
					assert.Equal(t, []string{"app", "s3cret"}, []string{r.FormValue("client_id"), r.FormValue("client_secret")})
					tt.inBody(w, r)
					return
				}
				assert.Equal(t, []string{"app", "s3cret"}, []string{id, secret})
				assert.False(t, r.PostForm.Has("client_secret"))
				tt.basic(w, r)
			})
			accepted, err := tn.client(t).Accepts(t.Context(), "app", "s3cret")
			assert.Equal(t, tt.accepted, accepted)
			if tt.class == "" {
				require.NoError(t, err)
			} else {
				assert.Equal(t, tt.class, asError(t, err).Class.String())
				assert.Equal(t, OpToken, asError(t, err).Op)
			}
			tries, _ := tn.counts()
			assert.Equal(t, tt.tries, tries)
		})
	}
}
