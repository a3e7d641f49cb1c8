package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/assertion"
)

// newKeyWorldBefore is newWorldBefore for an application of private_key_jwt.
func newKeyWorldBefore(t *testing.T, auth0 http.HandlerFunc) *world {
	t.Helper()
	w := newWorldBefore(t, auth0)
	w.source.key, _ = newKey(t)
	return w
}

var asserted = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`)

// TestTheRestStaysAsItIsWithAnAssertion: each other parameter, to the byte. It takes the place of
// the secret, wherever that was.
func TestTheRestStaysAsItIsWithAnAssertion(t *testing.T) {
	var body string
	var header http.Header
	var assertions []string
	w := newKeyWorldBefore(t, func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		assert.EqualValues(t, len(raw), r.ContentLength)
		assertions = append(assertions, asserted.FindString(string(raw)))
		body, header = asserted.ReplaceAllString(string(raw), "AN-ASSERTION"), r.Header
	})
	const (
		inForm = "client_assertion=AN-ASSERTION&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
		inJSON = `"client_assertion":"AN-ASSERTION","client_assertion_type":"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"`
	)
	basicHeader := basic("shop", local)
	for _, each := range []struct{ kind, basic, given, want string }{
		{formType, "", "a=%41+b&client_id=shop&client_secret=" + local + "&&resource=1&resource[]=2&empty", "a=%41+b&client_id=shop&&resource=1&resource[]=2&empty&" + inForm},
		{formType, "", "client%5Fsecret=" + local + "&client_id=%73hop", "client_id=%73hop&" + inForm},
		{formType, "", "client_secret=" + local + "&client_assertion=&client_assertion_type=x&client_id=shop", "client_id=shop&" + inForm},
		{formType, "", "&client_id=shop&client_secret=" + local + "&", "&client_id=shop&&" + inForm},
		{formType, basicHeader, "a=%41", "a=%41&" + inForm + "&client_id=shop"},
		{formType, basicHeader, "a=%41&client_secret=&client_id=shop", "a=%41&client_id=shop&" + inForm},
		{"", basicHeader, "", inForm + "&client_id=shop"},
		{"application/json;charset=utf-8", "", ` { "client_id":"shop", "n": 1.0e5 ,"client\u005fsecret" : "` + local + `","o":{"client_secret":1}}`,
			`{"client_id":"shop", "n": 1.0e5,"o":{"client_secret":1},` + inJSON + `}`},
		{formType, "", "a&client_secret=" + local + "&b&client_assertion=&&c&client_id=shop", "a&b&&c&client_id=shop&" + inForm},
		{jsonType, "", `{"client_secret":"` + local + `","client_id":"\u0073hop"}`, `{"client_id":"\u0073hop",` + inJSON + `}`},
		{jsonType, basicHeader, `{}`, `{` + inJSON + `,"client_id":"shop"}`},
		{jsonType, basicHeader, `{"client_secret":"","client_assertion_type":"", "a":"\u0041"}`, `{"a":"\u0041",` + inJSON + `,"client_id":"shop"}`},
	} {
		r := w.request("POST", "/oauth/token", each.given)
		for name, value := range map[string]string{"Content-Type": each.kind, "Authorization": each.basic, "User-Agent": "a-library"} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		assert.Equal(t, 200, w.do(r).status, each.given)
		assert.Equal(t, each.want, body, each.given)
		if each.kind == "" {
			each.kind = formType
		}
		assert.Equal(t, each.kind, header.Get("Content-Type"))
		assert.NotContains(t, header, "Authorization")
		assert.Equal(t, "a-library", header.Get("User-Agent"))
		read, err := parse([]byte(body), each.kind != formType)
		require.NoError(t, err)
		assert.Equal(t, "shop", read.values["client_id"])
	}
	assert.Len(t, slices.Compact(slices.Sorted(slices.Values(assertions))), len(assertions))
}

// TestCodesAndRefreshTokensByAKey: the steps of a user's login.
func TestCodesAndRefreshTokensByAKey(t *testing.T) {
	w := newKeyWorld(t)
	got := w.post("/oauth/token", w.form(local, "grant_type", "authorization_code", "code", w.code(), "redirect_uri", callback))
	require.Equal(t, 200, got.status, got.body)
	got = w.post("/oauth/token", w.form(local, "grant_type", "refresh_token", "refresh_token", got.field("refresh_token")))
	require.Equal(t, 200, got.status, got.body)
	got = w.post("/oauth/token", w.form(local, "grant_type", "authorization_code", "code", "none", "redirect_uri", callback))
	assert.Equal(t, 403, got.status)
	assert.Equal(t, "invalid_grant", got.field("error"))
	client, err := url.ParseQuery(w.form(local))
	require.NoError(t, err)
	client.Set("client_assertion", "eyJ.of-the-client.s-own")
	assert.Equal(t, 400, w.post("/oauth/token", client.Encode()).status)
	client.Del("client_secret")
	assert.Equal(t, 401, w.post("/oauth/token", client.Encode()).status)
	assert.Zero(t, w.proxy.counts.fellBack.Load())
}

// TestAKeyThatIsRefused: the answer is passed on, after two attempts.
func TestAKeyThatIsRefused(t *testing.T) {
	w := newKeyWorld(t)
	w.logIn(1)
	registered := w.source.key
	other, _ := newKey(t)
	w.source.setKey(other)
	got := w.post("/oauth/token", w.form(local))
	assert.Equal(t, 401, got.status)
	assert.JSONEq(t, `{"error":"invalid_client","error_description":"Invalid client assertion"}`, got.body)
	assert.Equal(t, 2, w.tenant.Stats().Logins.Attempts.Refused)
	w.source.setKey(registered)
	w.logIn(1)
}

// TestAnAssertionForEachAttempt: a source that signs elsewhere is asked for each.
func TestAnAssertionForEachAttempt(t *testing.T) {
	var w *world
	var reads, late atomic.Int32
	var down atomic.Bool
	source := auth0login.SourceFunc(func(context.Context) (auth0login.Credentials, error) {
		reads.Add(1)
		if down.Load() {
			return auth0login.Credentials{}, errors.New("Vault is sealed")
		}
		lifetime := time.Minute
		if late.Add(-1) >= 0 {
			lifetime = -time.Minute
		}
		signer, err := assertion.NewSigner(w.source.key, "RS256", "")
		if err != nil {
			return auth0login.Credentials{}, err
		}
		text, err := signer.Sign(w.shop.ClientID, "https://"+w.tenant.Domain()+"/", time.Now(), lifetime)
		return auth0login.Credentials{Domain: w.tenant.Domain(), ClientID: w.shop.ClientID, ClientAssertion: text}, err
	})
	w = newKeyWorld(t, func(c *Config) { c.Applications[0].Source = source })
	w.logIn(3)
	assert.EqualValues(t, 4, reads.Load(), "the first one for the client ID")
	late.Store(1)
	w.logIn(1)
	assert.EqualValues(t, 1, w.proxy.counts.fellBack.Load())
	down.Store(true)
	got := w.post("/oauth/token", w.form(local))
	assert.Equal(t, 503, got.status)
	assert.Contains(t, w.logs.String(), "Vault is sealed")
	assert.Equal(t, 503, recorded(w.proxy.Health(), w.request("GET", "/", "")).Code)
	down.Store(false)
	w.logIn(1)
}

// TestRequestsOfOthersAskTheSourceNowAndThen, and not each: it may be Vault.
func TestRequestsOfOthersAskTheSourceNowAndThen(t *testing.T) {
	w := newKeyWorldBefore(t, func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "{}") })
	w.proxy.askPause = time.Hour
	const other = "client_id=other&client_secret=x"
	for range 5 {
		assert.Equal(t, 200, w.post("/oauth/token", other).status)
	}
	assert.Equal(t, 2, w.source.count(), "for the client ID, and whether it has changed")
	w.proxy.applications[0].asked.Add(-int64(time.Hour))
	assert.Equal(t, 200, w.post("/oauth/token", other).status)
	assert.Equal(t, 3, w.source.count())
}

// TestAnAnswerWithAKeyIsNotPassedOn, or with an assertion, wherever it is.
func TestAnAnswerWithAKeyIsNotPassedOn(t *testing.T) {
	var quote func(sent string) (header, body string)
	w := newKeyWorldBefore(t, func(rw http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		header, body := quote(asserted.FindString(string(raw)))
		rw.Header().Set("X-Quote", header)
		_, _ = io.WriteString(rw, body)
	})
	quote = func(string) (string, string) { return "", "{}" }
	require.Equal(t, 200, w.post("/oauth/token", w.form(local)).status)
	key := w.source.key
	escaped, err := json.Marshal(key)
	require.NoError(t, err)
	lines := linesOf(key)
	require.Greater(t, len(lines), 20)
	for name, quoted := range map[string]func(string) (string, string){
		"PEM":                     func(string) (string, string) { return "", key },
		"JSON":                    func(string) (string, string) { return "", string(escaped) },
		"a line of it":            func(string) (string, string) { return lines[7], "" },
		"form-encoded":            func(string) (string, string) { return "", url.QueryEscape(key) },
		"without line breaks":     func(string) (string, string) { return "", strings.ReplaceAll(key, "\n", "") },
		"assertion":               func(sent string) (string, string) { return "", `{"error":"` + sent + `"}` },
		"assertion in the header": func(sent string) (string, string) { return sent, "" },
	} {
		quote = quoted
		got := w.post("/oauth/token", w.form(local))
		assert.Equal(t, 502, got.status, name)
		assert.NotContains(t, got.body, "eyJ", name)
	}
	quote = func(string) (string, string) { return "", strings.Repeat("x", 2*maxLoginBody) + lines[3] }
	resp, err := w.front.Client().Do(w.request("POST", "/oauth/token", w.form(local), "Content-Type", formType))
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.Error(t, err, "it is cut off")
	assert.NotContains(t, string(text), lines[3])
}

// TestDiscoveryOffersSecrets, though the application has none: the local one is one.
func TestDiscoveryOffersSecrets(t *testing.T) {
	w := newKeyWorld(t)
	got := w.do(w.request("GET", "/.well-known/openid-configuration", ""))
	var document struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
		Token   string   `json:"token_endpoint"`
	}
	require.NoError(t, json.Unmarshal([]byte(got.body), &document))
	assert.Subset(t, document.Methods, []string{"client_secret_basic", "client_secret_post"})
	assert.Equal(t, "https://login.example.com:8404/oauth/token", document.Token)
}
