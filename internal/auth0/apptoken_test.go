package auth0

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func tokenRequest(clientID string) TokenRequest {
	return TokenRequest{ClientID: clientID, Secret: "s3cret-of-" + clientID}
}

func TestTokenOfAnApplication(t *testing.T) {
	tn := newTenant(t, nil)
	var asked []url.Values
	tn.onToken(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		asked = append(asked, r.PostForm)
		reply(w, 200, `{"access_token":"t","scope":"read:orders","expires_in":3600}`)
	})
	c := tn.client(t)
	token, err := c.Token(t.Context(), TokenRequest{
		ClientID: "shop", Secret: "s3cret-of-shop", Audience: "https://api.example.com/", Scopes: []string{"read:orders", "a"}, Organization: "org_1",
	})
	require.NoError(t, err)
	assert.Equal(t, "t", token.Value)
	assert.Equal(t, []string{"read:orders"}, token.Scopes)
	assert.WithinDuration(t, time.Now().Add(time.Hour), token.ExpiresAt, time.Minute)
	_, err = c.Token(t.Context(), tokenRequest("shop"))
	require.NoError(t, err)
	assert.Equal(t, []url.Values{
		{"grant_type": {"client_credentials"}, "client_id": {"shop"}, "client_secret": {"s3cret-of-shop"}, "audience": {"https://api.example.com/"},
			"scope": {"read:orders a"}, "organization": {"org_1"}},
		{"grant_type": {"client_credentials"}, "client_id": {"shop"}, "client_secret": {"s3cret-of-shop"}, "audience": {c.audience}},
	}, asked, "no token is held here")
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v", tokenRequest("shop"), tokenRequest("shop"), tokenRequest("shop")), "s3cret")
}

// TestTokenByAssertion: it comes in place of the secret, and is sent once.
func TestTokenByAssertion(t *testing.T) {
	const signed = "s1gned.assertion.of-shop"
	byAssertion := TokenRequest{ClientID: "shop", Secret: "", Assertion: signed, Scopes: []string{"read:orders"}, Organization: "org_1"}
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v", byAssertion, byAssertion, byAssertion), "s1gned")
	assert.NotContains(t, asJSON(byAssertion), "s1gned")
	tn := newTenant(t, nil)
	var asked []url.Values
	answer := replies(200, `{"access_token":"t","expires_in":3600}`)
	tn.onToken(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		asked = append(asked, r.PostForm)
		answer(w, r)
	})
	c := tn.client(t)
	_, err := c.Token(t.Context(), byAssertion)
	require.NoError(t, err)
	assert.Equal(t, []url.Values{{
		"grant_type": {"client_credentials"}, "client_id": {"shop"}, "client_assertion": {signed},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"audience":              {c.audience}, "scope": {"read:orders"}, "organization": {"org_1"},
	}}, asked)
	for name, tt := range map[string]struct {
		answer  http.HandlerFunc
		class   Class
		refused bool
	}{
		"503":            {replies(503, ""), Ambiguous, false},
		"lost":           {hangUp, Ambiguous, false},
		"access_denied":  {replies(401, `{"error":"access_denied","error_description":"Unauthorized"}`), Refused, true},
		"invalid_client": {replies(401, `{"error":"invalid_client","error_description":"Invalid client assertion"}`), Refused, true},
		"no grant":       {replies(403, `{"error":"access_denied"}`), Refused, false},
	} {
		asked, answer = nil, tt.answer
		_, err := c.Token(t.Context(), byAssertion)
		assert.Equal(t, tt.class, ClassOf(err), name)
		assert.Equal(t, tt.refused, SecretRefused(err), name)
		assert.Len(t, asked, 1, "%s: an assertion is good once", name)
	}
}

// TestWhyATokenIsRefused: an error tells apart what is to be mended in different places.
func TestWhyATokenIsRefused(t *testing.T) {
	for said, reason := range map[string]string{
		`Service not enabled within domain: x`:                   ReasonNoSuchAPI,
		`Client is not authorized to access 'x'.`:                ReasonNotAuthorized,
		`parameter organization is required for this client`:     ReasonOrganization,
		`parameter organization is not allowed for this client`:  ReasonNoOrganization,
		`Client is not authorized to access organization: org_2`: ReasonOtherOrganization,
	} {
		tn := newTenant(t, nil)
		tn.onToken(replies(403, `{"error":"access_denied","error_description":"`+said+`"}`))
		_, err := tn.client(t).Token(t.Context(), tokenRequest("shop"))
		require.EqualError(t, err, "token: Auth0 refused (403 access_denied): "+reason)
	}
}

func TestSecretRefused(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		body    string
		refused bool
	}{
		"access_denied":    {401, `{"error":"access_denied","error_description":"Unauthorized"}`, true},
		"invalid_client":   {401, `{"error":"invalid_client"}`, true},
		"no grant":         {403, `{"error":"access_denied","error_description":"Client is not authorized to access \"x\"."}`, false},
		"a proxy's page":   {401, `<html>`, false},
		"too many":         {429, `{"error":"access_denied"}`, false},
		"another reason":   {401, `{"error":"invalid_request"}`, false},
		"Auth0 has failed": {503, `{"error":"access_denied"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			tn := newTenant(t, nil)
			tn.onToken(replies(c.status, c.body))
			_, err := tn.client(t).Token(t.Context(), tokenRequest("shop"))
			require.Error(t, err)
			assert.Equal(t, c.refused, SecretRefused(err), err)
		})
	}
}

// TestAQuotaHoldsItsApplicationOnly, for that organization only; the limit of the token
// endpoint holds all.
func TestAQuotaHoldsItsApplicationOnly(t *testing.T) {
	tn := newTenant(t, nil)
	description := "Client quota exceeded"
	tn.onToken(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("client_id") == "shop" && r.FormValue("organization") == "" {
			w.Header().Set("Retry-After", "3000")
			w.Header().Set("Auth0-Client-Quota-Limit", "b=per_hour;q=10;r=0;t=3000")
			reply(w, 429, `{"error":"too_many_requests","error_description":"`+description+`"}`)
			return
		}
		reply(w, 200, `{"access_token":"t","scope":"read:clients","expires_in":3600}`)
	})
	c := tn.client(t)
	ask := func(r TokenRequest) error {
		_, err := c.Token(t.Context(), r)
		return err
	}
	exceeded := Error{Class: Limited, Op: OpToken, Status: 429, Code: "too_many_requests", RetryAfter: time.Minute}
	assert.Equal(t, exceeded, *asError(t, ask(tokenRequest("shop"))))
	tokens, _ := tn.counts()
	assert.Equal(t, Limited, ClassOf(ask(tokenRequest("shop"))))
	again, _ := tn.counts()
	assert.Equal(t, tokens, again, "it is not asked again at once")

	require.NoError(t, ask(tokenRequest("other")))
	ofOrganization := tokenRequest("shop")
	ofOrganization.Organization = "org_1"
	require.NoError(t, ask(ofOrganization))
	_, err := c.Grant(t.Context())
	require.NoError(t, err)

	description = "Global limit has been reached"
	c = tn.client(t)
	assert.Equal(t, Limited, ClassOf(ask(tokenRequest("shop"))))
	assert.Equal(t, Limited, ClassOf(ask(tokenRequest("other"))), "the tenant's limit is everybody's")
}

// TestATokenThatIsOfNoUse is none: tokens/ hands out Bearer tokens that are good for a
// while.
func TestATokenThatIsOfNoUse(t *testing.T) {
	for answer, reason := range map[string]string{
		`{"access_token":"t","expires_in":3600,"token_type":"DPoP"}`:    "of another type than Bearer",
		`{"access_token":"t","expires_in":-1,"token_type":"Bearer"}`:    "has expired already",
		`{"access_token":"t","expires_in":-3600,"token_type":"bearer"}`: "has expired already",
	} {
		tn := newTenant(t, nil)
		tn.onToken(replies(200, answer))
		_, err := tn.client(t).Token(t.Context(), tokenRequest("shop"))
		require.ErrorContains(t, err, reason)
	}
}

// TestManyApplicationsDoNotStormTheTokenEndpoint: after a restart all tokens are wanted at
// once. While the endpoint's limit holds, nobody waits for it.
func TestManyApplicationsDoNotStormTheTokenEndpoint(t *testing.T) {
	tn := newTenant(t, nil)
	var atOnce, most atomic.Int64
	limited := atomic.Bool{}
	together := make(chan struct{}, firstCalls)
	tn.onToken(func(w http.ResponseWriter, _ *http.Request) {
		most.Store(max(most.Load(), atOnce.Add(1)))
		defer atOnce.Add(-1)
		if limited.Load() {
			reply(w, 429, `{"error":"too_many_requests","error_description":"Global limit has been reached"}`)
			return
		}
		select { // until as many are here as may be, and then some
		case together <- struct{}{}:
		case <-time.After(20 * time.Millisecond):
			<-together
		}
		reply(w, 200, `{"access_token":"t","expires_in":3600}`)
	})
	c := tn.client(t)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			_, err := c.Token(t.Context(), tokenRequest(strconv.Itoa(i)))
			assert.NoError(t, err)
		})
	}
	all.Wait()
	assert.LessOrEqual(t, most.Load(), int64(firstCalls))

	limited.Store(true)
	_, err := c.Token(t.Context(), tokenRequest("shop"))
	assert.Equal(t, Limited, ClassOf(err))
	tokens, _ := tn.counts()
	long := time.Now()
	_, err = c.Token(t.Context(), tokenRequest("shop"))
	assert.Equal(t, Limited, ClassOf(err))
	assert.Less(t, time.Since(long), tokenQueueTime)
	again, _ := tn.counts()
	assert.Equal(t, tokens, again)
}
