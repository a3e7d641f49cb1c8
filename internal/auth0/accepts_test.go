package auth0

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/assertion"
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
		"400 invalid_client":       {replies(400, `{"error":"invalid_client"}`), denied, false, "", 2},
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

func TestAcceptsKey(t *testing.T) {
	key := testKeys()[0]
	private, err := assertion.ParsePrivateKey(key)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		answer   http.HandlerFunc
		accepted bool
		text     string // of the error; "": none
		tries    int
	}{
		"accepted":             {replies(200, ""), true, "", 1},
		"accepted with a text": {replies(200, "OK"), true, "", 1},
		"204":                  {replies(204, ""), true, "", 1},
		"invalid_client":       {replies(401, `{"error":"invalid_client","error_description":"x"}`), false, "", 1},
		"access_denied":        {replies(401, `{"error":"access_denied","error_description":"Unauthorized"}`), false, "", 1},
		"another 401":          {replies(401, `{"error":"unauthorized_client"}`), false, "Auth0 refused (401 unauthorized_client): " + ReasonGrantType, 1},
		"400 invalid_client":   {replies(400, `{"error":"invalid_client"}`), false, "", 1},
		"403":                  {replies(403, `{"error":"access_denied"}`), false, "Auth0 refused (403 access_denied)", 1},
		"401 of another":       {replies(401, `{"message":"access_denied"}`), false, "no clear answer from Auth0 (401): " + ReasonNotAuth0, 1},
		"a page":               {replies(200, "\n<html>Log in, please</html>"), false, "no clear answer from Auth0 (200): " + ReasonNotAuth0, 1},
		"elsewhere":            {replies(302, ""), false, "no clear answer from Auth0 (302): " + ReasonRedirected, 1},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			reply(w, 200, "")
		}, false, "no clear answer from Auth0 (200): " + reasonUnreadable, 1},
		"limited":        {replies(429, `{"error":"too_many_requests"}`), false, "Auth0 limits the rate (429), retry in 10s", 1},
		"a proxy limits": {replies(429, `{}`), false, "no clear answer from Auth0 (429): " + ReasonNotAuth0, 1},
		"500":            {replies(500, `{"error":"access_denied"}`), false, "no clear answer from Auth0 (500 access_denied): " + reasonItsFault, 1 + retryMax},
		"lost":           {hangUp, false, "no clear answer from Auth0: " + reasonLost, 1 + retryMax},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tn *tenant
			ids := map[string]bool{}
			tn = newTenant(t, func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, "POST /oauth/revoke", r.Method+" "+r.URL.Path)
				assert.Empty(t, r.Header.Get("Authorization"))
				assert.Equal(t, []string{"app", assertion.Type, "none"}, []string{
					r.PostFormValue("client_id"), r.PostFormValue("client_assertion_type"), r.PostFormValue("token"),
				})
				signed, err := jwt.ParseSigned(r.PostFormValue("client_assertion"), []jose.SignatureAlgorithm{jose.PS256})
				if !assert.NoError(t, err) {
					return
				}
				assert.Equal(t, kidOf(t, key), signed.Headers[0].KeyID)
				var claims jwt.Claims
				assert.NoError(t, signed.Claims(private.Public(), &claims))
				assert.Equal(t, []string{"app", "app", tn.URL + "/"}, []string{claims.Issuer, claims.Subject, claims.Audience[0]})
				assert.False(t, ids[claims.ID], "an assertion is good once")
				ids[claims.ID] = true
				tt.answer(w, r)
			})
			cfg := tn.config()
			cfg.Counts = &Counts{}
			accepted, err := newClient(t, cfg).AcceptsKey(t.Context(), "app", key, "PS256")
			assert.Equal(t, tt.accepted, accepted)
			if tt.text == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, "try key: "+tt.text)
			}
			tokens, calls := tn.counts()
			assert.Zero(t, tokens, "it needs no token")
			assert.Equal(t, tt.tries, calls)
			var counted uint64
			for endpoint, number := range asked(cfg.Counts) {
				assert.Contains(t, endpoint, "POST /oauth/revoke ")
				counted += number
			}
			assert.EqualValues(t, tt.tries, counted)
		})
	}
}

// TestAcceptsKeyKeepsToTheLimit of the token endpoint: that is one of all endpoints to
// which applications authenticate.
func TestAcceptsKeyKeepsToTheLimit(t *testing.T) {
	tn := newTenant(t, replies(429, `{"error":"too_many_requests"}`))
	c := tn.client(t)
	try := func(ctx context.Context) error {
		_, err := c.AcceptsKey(ctx, "app", testKeys()[0], "RS256")
		return err
	}
	for range 2 {
		e := asError(t, try(t.Context()))
		assert.Equal(t, Limited, e.Class)
		assert.Equal(t, "try key", e.Op)
		assert.Greater(t, e.RetryAfter, 5*time.Second)
		_, calls := tn.counts()
		assert.Equal(t, 1, calls, "the second one is held")
	}
	_, err := c.Grant(t.Context())
	assert.Equal(t, Limited, ClassOf(err))
	tn.on(replies(200, ""))
	require.NoError(t, try(Urgent(t.Context())))
	_, err = c.Grant(t.Context())
	require.NoError(t, err, "the answer has ended the wait")
}

// TestKeysThatCannotSign are not sent.
func TestKeysThatCannotSign(t *testing.T) {
	c := newTenant(t, hangUp).client(t)
	for _, tt := range [][2]string{{"no key", "RS256"}, {testKeys()[0], "HS256"}} {
		_, err := c.AcceptsKey(t.Context(), "app", tt[0], tt[1])
		require.ErrorContains(t, err, "try key: not sent: the private key cannot be used")
	}
}
