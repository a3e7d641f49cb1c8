package auth0login

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// keyPair is a key of an application.
type keyPair struct{ private, public, kid string }

func newKey(t *testing.T) keyPair {
	t.Helper()
	private, err := assertion.NewPrivateKey(assertion.MinKeyBits)
	require.NoError(t, err)
	public, kid, err := assertion.PublicKey(private)
	require.NoError(t, err)
	return keyPair{private, public, kid}
}

// newKeyWorld is a tenant with an application of private_key_jwt, which the source gives
// credentials for. What is sent to the tenant is in posted.
func newKeyWorld(t *testing.T, key keyPair, algorithm string, source func(Credentials) Source) (w *world, posted *forms) {
	t.Helper()
	auth, err := tenant.Start(tenant.Options{})
	require.NoError(t, err)
	t.Cleanup(auth.Close)
	const callback = "http://localhost:3000/callback"
	app := auth.AddApplicationWithKey(tenant.Application{Callbacks: []string{callback}}, key.public, algorithm)
	browser := *auth.HTTPClient()
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	posted = &forms{RoundTripper: browser.Transport}
	browser.Transport = posted
	return &world{
		t: t, auth: auth, ctx: context.WithValue(t.Context(), oauth2.HTTPClient, &browser),
		app: New(source(Credentials{Domain: auth.Domain(), ClientID: app.ClientID}), Domain(auth.Domain())),
		web: oauth2.Config{RedirectURL: callback, Scopes: []string{"openid", "offline_access"}},
	}, posted
}

// forms are those that were posted.
type forms struct {
	http.RoundTripper
	mu  sync.Mutex
	all []url.Values
}

// RoundTrip implements http.RoundTripper.
func (f *forms) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		copied := r.Clone(r.Context())
		copied.Body, _ = r.GetBody()
		_ = copied.ParseForm()
		f.mu.Lock()
		f.all = append(f.all, copied.PostForm)
		f.mu.Unlock()
	}
	return f.RoundTripper.RoundTrip(r)
}

// assertions are those that were posted. No other authentication was.
func (f *forms) assertions(t *testing.T) (all []string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, form := range f.all {
		assert.NotContains(t, form, "client_secret")
		assert.Equal(t, []string{assertion.Type}, form["client_assertion_type"])
		assert.Len(t, form["client_assertion"], 1)
		assert.Len(t, form["client_id"], 1)
		all = append(all, form.Get("client_assertion"))
	}
	return all
}

func withKey(key keyPair) func(Credentials) Source {
	return func(c Credentials) Source {
		c.PrivateKey = key.private
		return SourceFunc(func(context.Context) (Credentials, error) { return c, nil })
	}
}

// assertEachOnce wants no assertion twice.
func assertEachOnce(t *testing.T, assertions []string) {
	t.Helper()
	sorted := slices.Sorted(slices.Values(assertions))
	assert.Len(t, slices.Compact(sorted), len(assertions), "an assertion was sent twice")
}

// TestEveryWayToLogInByAKey, with an assertion of its own each time.
func TestEveryWayToLogInByAKey(t *testing.T) {
	for _, algorithm := range assertion.Algorithms {
		t.Run(algorithm, func(t *testing.T) {
			key := newKey(t)
			w, posted := newKeyWorld(t, key, algorithm, func(c Credentials) Source {
				c.SigningAlgorithm = algorithm
				return withKey(key)(c)
			})
			_, err := w.app.ClientCredentials(w.ctx, clientcredentials.Config{EndpointParams: url.Values{"audience": {tenant.DefaultAPI}}}).Token()
			require.NoError(t, err)
			verifier := oauth2.GenerateVerifier()
			first, err := w.app.Exchange(w.ctx, w.web, w.code(oauth2.S256ChallengeOption(verifier)), oauth2.VerifierOption(verifier))
			require.NoError(t, err)
			assert.NotEmpty(t, first.Extra("id_token"))
			first.Expiry = time.Now().Add(-time.Minute)
			second, err := w.app.TokenSource(w.ctx, w.web, first).Token()
			require.NoError(t, err)
			assert.NotEqual(t, first.AccessToken, second.AccessToken)

			assertions := posted.assertions(t)
			require.Len(t, assertions, 3)
			assertEachOnce(t, assertions)
			assert.Zero(t, w.refusals())
			for _, text := range assertions {
				token, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
				require.NoError(t, err)
				assert.Equal(t, key.kid, token.Headers[0].KeyID)
				var claims jwt.Claims
				require.NoError(t, token.UnsafeClaimsWithoutVerification(&claims))
				assert.Equal(t, jwt.Audience{"https://" + w.auth.Domain() + "/"}, claims.Audience)
				assert.Equal(t, assertionLifetime, claims.Expiry.Time().Sub(claims.IssuedAt.Time()))
			}
		})
	}
}

// TestARefusedKeyIsReadAgain: a forced rotation has removed it. The new one has as many
// attempts as the first, and no assertion is sent twice.
func TestARefusedKeyIsReadAgain(t *testing.T) {
	old, present := newKey(t), newKey(t)
	used := old
	source := func(c Credentials) Source {
		return refreshed{
			SourceFunc: func(context.Context) (Credentials, error) { c.PrivateKey = used.private; return c, nil },
			refresh:    func() error { used = present; return nil },
		}
	}
	w, posted := newKeyWorld(t, present, "RS256", source)
	_, err := w.app.ClientCredentials(w.ctx, clientcredentials.Config{}).Token()
	require.NoError(t, err)
	assert.Equal(t, 1, w.refusals())
	assertEachOnce(t, posted.assertions(t))
	assert.Empty(t, w.app.record.of, "nothing is remembered of assertions")

	used = old
	w, posted = newKeyWorld(t, newKey(t), "RS256", source)
	_, err = w.app.ClientCredentials(w.ctx, clientcredentials.Config{}).Token()
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "each client assertion was refused: the token endpoint answered 401 invalid_client")
	assert.Len(t, posted.assertions(t), 3, "the old key once, the new one twice")
	assertEachOnce(t, posted.assertions(t))

	used = present // it stays
	w, posted = newKeyWorld(t, newKey(t), "RS256", source)
	_, err = w.app.ClientCredentials(w.ctx, clientcredentials.Config{}).Token()
	require.ErrorIs(t, err, ErrRefused)
	assert.Len(t, posted.assertions(t), 2)
	assert.Empty(t, w.app.record.of)
}

// TestAssertionsOfElsewhere: each login asks for one, and each attempt after a refusal, too.
func TestAssertionsOfElsewhere(t *testing.T) {
	key := newKey(t)
	signer, err := assertion.NewSigner(key.private, "RS256", key.kid)
	require.NoError(t, err)
	lifetimes := []time.Duration{time.Minute, -time.Minute, time.Minute, -time.Minute, -time.Minute, time.Minute}
	reads := 0
	w, posted := newKeyWorld(t, key, "RS256", func(c Credentials) Source {
		return SourceFunc(func(context.Context) (Credentials, error) {
			text, err := signer.Sign(c.ClientID, "https://"+c.Domain+"/", time.Now(), lifetimes[reads])
			reads++
			c.ClientAssertion, c.KID = text, key.kid
			return c, err
		})
	})
	login := func() error {
		_, err := w.app.ClientCredentials(w.ctx, clientcredentials.Config{}).Token()
		return err
	}
	require.NoError(t, login())
	require.NoError(t, login(), "the first attempt came too late")
	assert.Equal(t, 3, reads)
	require.ErrorIs(t, login(), ErrRefused)
	assert.Equal(t, 5, reads)
	require.NoError(t, login())
	assertEachOnce(t, posted.assertions(t))
	assert.Len(t, posted.assertions(t), 6)
}

// TestAnAssertionIsNeverSentTwice, though the source gives it again.
func TestAnAssertionIsNeverSentTwice(t *testing.T) {
	key := newKey(t)
	signer, err := assertion.NewSigner(key.private, "RS256", key.kid)
	require.NoError(t, err)
	for name, lifetime := range map[string]time.Duration{"accepted": time.Minute, "refused": -time.Minute} {
		t.Run(name, func(t *testing.T) {
			text := ""
			w, posted := newKeyWorld(t, key, "RS256", func(c Credentials) Source {
				text, err = signer.Sign(c.ClientID, "https://"+c.Domain+"/", time.Now(), lifetime)
				c.ClientAssertion = text
				return SourceFunc(func(context.Context) (Credentials, error) { return c, err })
			})
			_, err := w.app.ClientCredentials(w.ctx, clientcredentials.Config{}).Token()
			if name == "accepted" {
				require.NoError(t, err)
				_, err = w.app.ClientCredentials(w.ctx, clientcredentials.Config{}).Token()
				require.NotErrorIs(t, err, ErrRefused)
			} else {
				require.ErrorIs(t, err, ErrRefused)
			}
			require.ErrorContains(t, err, "the client assertion was used before")
			assert.NotContains(t, err.Error(), text)
			assert.Equal(t, []string{text}, posted.assertions(t))
		})
	}
}

// TestManyLoginsByAKeyAtOnce, for the race detector.
func TestManyLoginsByAKeyAtOnce(t *testing.T) {
	key := newKey(t)
	w, posted := newKeyWorld(t, key, "RS256", withKey(key))
	var logins sync.WaitGroup
	for range 8 {
		logins.Go(func() {
			_, err := w.app.ClientCredentials(w.ctx, clientcredentials.Config{}).Token()
			assert.NoError(t, err)
		})
	}
	logins.Wait()
	assert.Len(t, posted.assertions(t), 8)
	assertEachOnce(t, posted.assertions(t))
}

// TestTheClientOfAnAttemptByAssertion follows no redirects, and has the default transport
// where there is no other.
func TestTheClientOfAnAttemptByAssertion(t *testing.T) {
	ctx := asserting(withoutRedirects(t.Context()), "an-assertion")
	client := ctx.Value(oauth2.HTTPClient).(*http.Client)
	assert.Equal(t, http.ErrUseLastResponse, client.CheckRedirect(nil, nil))
	assert.Nil(t, http.DefaultClient.CheckRedirect)
	auth0 := startAuth0(t, nil)
	auth0.Config.Handler = http.RedirectHandler("https://elsewhere.example.com/", http.StatusTemporaryRedirect)
	app := New(SourceFunc(func(ctx context.Context) (Credentials, error) {
		c, err := auth0.source()(ctx)
		c.ClientAssertion = "an-assertion"
		return c, err
	}))
	require.ErrorContains(t, auth0.login(t, app), "the token endpoint redirects")

	w := newWorld(t) // nobody trusts its certificate
	_, err := client.Post("https://"+w.auth.Domain()+"/oauth/token", "application/x-www-form-urlencoded", strings.NewReader("grant_type=x"))
	require.ErrorContains(t, err, "certificate")
}

// TestLoginByAKeyWithAnotherLibrary.
func TestLoginByAKeyWithAnotherLibrary(t *testing.T) {
	key := newKey(t)
	w, posted := newKeyWorld(t, key, "RS256", withKey(key))
	var tried []string
	err := w.app.Login(w.ctx, func(ctx context.Context, c Credentials, secret string) error {
		assert.True(t, c.ByAssertion())
		tried = append(tried, secret)
		resp, err := ctx.Value(oauth2.HTTPClient).(*http.Client).PostForm("https://"+c.Domain+"/oauth/token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {c.ClientID}, "client_assertion": {secret}, "client_assertion_type": {assertion.Type},
		})
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		assert.Equal(t, 200, resp.StatusCode)
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, tried, posted.assertions(t))
	assert.False(t, Credentials{ClientSecrets: []string{"A"}}.ByAssertion())
}

func TestParseCredentialsOfKeys(t *testing.T) {
	key := newKey(t)
	parse := func(more map[string]any) (Credentials, error) {
		more["domain"], more["client_id"], more["ttl"] = "d", "c", 60
		return ParseCredentials(encoded(t, more))
	}
	c, err := parse(map[string]any{"private_key": key.private, "kid": "registered-otherwise", "signing_algorithm": "PS256"})
	require.NoError(t, err)
	assert.Equal(t, Credentials{Domain: "d", ClientID: "c", PrivateKey: key.private, KID: "registered-otherwise", SigningAlgorithm: "PS256"}, c)
	c, err = parse(map[string]any{"private_key": key.private})
	require.NoError(t, err)
	assert.Equal(t, key.kid, c.KID)
	c, err = parse(map[string]any{"client_assertion": "eyJ", "kid": key.kid, "client_assertion_type": assertion.Type, "expires_at": "2026-01-01T00:00:00Z"})
	require.NoError(t, err)
	assert.Equal(t, Credentials{Domain: "d", ClientID: "c", KID: key.kid, ClientAssertion: "eyJ"}, c)

	half := key.private[:len(key.private)/2]
	for _, bad := range []struct {
		want string
		data map[string]any
	}{
		{"no client secret, private key or client assertion", map[string]any{}},
		{"more than one", map[string]any{"private_key": key.private, "client_secret": "s"}},
		{"more than one", map[string]any{"private_key": key.private, "client_assertion": "a"}},
		{"more than one", map[string]any{"client_secrets": []string{"s"}, "client_assertion": "a"}},
		{"not in PEM", map[string]any{"private_key": half}},
		{"PKCS #8", map[string]any{"private_key": key.public}},
		{"signing algorithm must be one of", map[string]any{"private_key": key.private, "signing_algorithm": "HS256"}},
		{"not JSON", map[string]any{"private_key": []string{key.private}}},
	} {
		_, err := parse(bad.data)
		require.ErrorContains(t, err, bad.want)
		assertNothingOf(t, key, err.Error())
	}
}

// assertNothingOf wants no line of the key in a text.
func assertNothingOf(t *testing.T, key keyPair, text string) {
	t.Helper()
	for line := range strings.Lines(key.private) {
		if line = strings.TrimSpace(line); len(line) > 20 && !strings.HasPrefix(line, "-----") {
			assert.NotContains(t, text, line)
		}
	}
}

// TestAKeyThatCannotSign ends the login, and the error shows nothing of it.
func TestAKeyThatCannotSign(t *testing.T) {
	key := newKey(t)
	for want, c := range map[string]Credentials{
		"not in PEM":      {Domain: "d", ClientID: "c", PrivateKey: key.private[:500], KID: key.kid},
		"in PEM":          {Domain: "d", ClientID: "c", PrivateKey: key.private[:500]},
		"must be one of":  {Domain: "d", ClientID: "c", PrivateKey: key.private, SigningAlgorithm: "none"},
		"more than one":   {Domain: "d", ClientID: "c", PrivateKey: key.private, ClientSecrets: []string{"s"}},
		"have no domain":  {ClientID: "c", PrivateKey: key.private},
		"no domain":       {ClientID: "c", ClientAssertion: "a"},
		"no client_id":    {Domain: "d", PrivateKey: key.private},
		"is expected, bu": {Domain: "d", ClientID: "c", PrivateKey: key.private},
	} {
		var options []Option
		if want == "is expected, bu" {
			options = []Option{Domain("example.eu.auth0.com")}
		}
		app := New(SourceFunc(func(context.Context) (Credentials, error) { return c, nil }), options...)
		err := app.Login(t.Context(), func(context.Context, Credentials, string) error {
			assert.Fail(t, "there is nothing to try")
			return nil
		})
		require.ErrorContains(t, err, want)
		assertNothingOf(t, key, printed(t, err, verbs))
	}
}

// TestAFileOfAKey: each change takes effect at once, in JSON as in PEM, and half a file leaves
// the last key.
func TestAFileOfAKey(t *testing.T) {
	first, second := newKey(t), newKey(t)
	inJSON := func(key keyPair) []byte {
		return encoded(t, map[string]any{"domain": "example.eu.auth0.com", "client_id": "shop", "private_key": key.private, "kid": key.kid, "signing_algorithm": "RS256"})
	}
	inPEM := func(key keyPair) []byte { return []byte(key.private) }
	for name, content := range map[string]func(keyPair) []byte{"JSON": inJSON, "PEM": inPEM} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "shop")
			source := File(path)
			if name == "PEM" {
				source = KeyFile(path, Credentials{Domain: "example.eu.auth0.com", ClientID: "shop", SigningAlgorithm: "RS256"})
			}
			write := func(text []byte) { require.NoError(t, os.WriteFile(path, text, 0o600)) }
			_, err := source.Credentials(t.Context())
			require.ErrorIs(t, err, os.ErrNotExist)
			for _, key := range []keyPair{first, second} {
				write(content(key))
				want := Credentials{Domain: "example.eu.auth0.com", ClientID: "shop", PrivateKey: key.private, KID: key.kid, SigningAlgorithm: "RS256"}
				for _, text := range [][]byte{content(key), content(key)[:1000], nil, []byte("no key")} {
					write(text)
					c, err := source.Credentials(t.Context())
					require.NoError(t, err)
					assert.True(t, want.PrivateKey == c.PrivateKey && want.KID == c.KID && want.SigningAlgorithm == c.SigningAlgorithm)
					assert.Equal(t, want.String(), c.String())
					if err := source.(Refresher).Refresh(t.Context()); len(text) < len(content(key)) {
						require.ErrorContains(t, err, path)
						assertNothingOf(t, key, err.Error())
					} else {
						require.NoError(t, err)
					}
				}
			}
		})
	}
}

// TestALoginWithAKeyFile against a tenant.
func TestALoginWithAKeyFile(t *testing.T) {
	key := newKey(t)
	path := filepath.Join(t.TempDir(), "shop.pem")
	w, posted := newKeyWorld(t, key, "PS256", func(c Credentials) Source {
		c.SigningAlgorithm = "PS256"
		return KeyFile(path, c)
	})
	login := func() error {
		_, err := w.app.ClientCredentials(w.ctx, clientcredentials.Config{}).Token()
		return err
	}
	require.ErrorIs(t, login(), os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte("\n"+key.private+"\n"), 0o600))
	require.NoError(t, login())
	assert.Len(t, posted.assertions(t), 1)
}

// TestNothingPrintsAKey, or an assertion that is still good.
func TestNothingPrintsAKey(t *testing.T) {
	key := newKey(t)
	w, posted := newKeyWorld(t, key, "RS256", withKey(key))
	path := filepath.Join(t.TempDir(), "shop.pem")
	require.NoError(t, os.WriteFile(path, []byte(key.private), 0o600))
	rendered := KeyFile(path, Credentials{Domain: "d", ClientID: "c"})
	c, err := rendered.Credentials(t.Context())
	require.NoError(t, err)
	asserted := Credentials{Domain: "d", ClientID: "c", ClientAssertion: secretOfNobody}
	_, err = w.app.ClientCredentials(w.ctx, clientcredentials.Config{}).Token()
	require.NoError(t, err)
	assert.Equal(t, "c at d with a private key", c.String())
	assert.Equal(t, "c at d with a client assertion", asserted.String())
	for name, value := range map[string]any{"key": c, "assertion": asserted, "file": rendered, "application": w.app, "value": *w.app} {
		for kind, held := range kinds(value) {
			all := printed(t, held, verbs)
			assertNothingOf(t, key, all)
			assert.NotContains(t, all, secretOfNobody, "%s: %s", name, kind)
			assert.NotContains(t, all, posted.assertions(t)[0], "%s: %s", name, kind)
		}
	}
	var text string
	marshalled, err := json.Marshal(&c)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(marshalled, &text))
	assert.Equal(t, c.String(), text)
}

// TestErrorsHaveNoAssertion: those of a transport, and of an answer that quotes the request.
func TestErrorsHaveNoAssertion(t *testing.T) {
	key := newKey(t)
	var sent []string
	auth0 := startAuth0(t, nil)
	auth0.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.FormValue("client_assertion"))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": "invalid_client", "error_description": r.FormValue("client_assertion")})
	})
	app := New(SourceFunc(func(ctx context.Context) (Credentials, error) {
		c, err := auth0.source()(ctx)
		c.PrivateKey = key.private
		return c, err
	}))
	err := auth0.login(t, app)
	require.ErrorIs(t, err, ErrRefused)
	require.Len(t, sent, 2)
	all := printed(t, err, verbs)
	auth0.Close()
	err = auth0.login(t, app)
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrRefused)
	all += printed(t, err, verbs)
	assertNothingOf(t, key, all)
	for _, text := range sent {
		require.NotEmpty(t, text)
		assert.NotContains(t, all, text)
	}
}

// FuzzParseCredentials: what is read has exactly one kind of credential, and no error shows
// the text.
func FuzzParseCredentials(f *testing.F) {
	private, err := assertion.NewPrivateKey(assertion.MinKeyBits)
	require.NoError(f, err)
	quoted, err := json.Marshal(private)
	require.NoError(f, err)
	const head = `{"domain":"d","client_id":"c",`
	for _, seed := range []string{
		head + `"client_secrets":["MARK","B"],"client_secret":"A"}`, head + `"private_key":KEY}`, head + `"private_key":KEY,"kid":"k","signing_algorithm":"PS256"}`,
		head + `"client_assertion":"MARK","kid":"k"}`, head + `"private_key":"MARK"}`, head + `"private_key":KEY,"client_assertion":"MARK"}`, `MARK`, `{"client_secrets":"MARK"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.NewReplacer("MARK", secretOfNobody, "KEY", string(quoted)).Replace(text)
		c, err := ParseCredentials([]byte(text))
		if err != nil {
			if strings.Contains(err.Error(), secretOfNobody) || strings.Contains(err.Error(), private[40:80]) {
				t.Fatalf("the error shows the text: %v", err)
			}
			return
		}
		if c.Domain == "" || c.ClientID == "" || c.ByAssertion() == (len(c.ClientSecrets) > 0) || c.PrivateKey != "" && c.ClientAssertion != "" {
			t.Fatalf("not exactly one kind: %#v", c)
		}
		if c.ByAssertion() {
			if _, err := c.assertion(); err != nil {
				t.Fatalf("no attempt can be made: %v", err)
			}
		}
	})
}
