package proxy

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/tenant"
)

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

// ways are how an application can authenticate. Each gives a request for the endpoint.
func (w *world) ways() map[string]func(path, secret string, more url.Values) *http.Request {
	return map[string]func(string, string, url.Values) *http.Request{
		"form": func(path, secret string, more url.Values) *http.Request {
			more.Set("client_id", w.shop.ClientID)
			more.Set("client_secret", secret)
			return w.request(http.MethodPost, path, more.Encode(), "Content-Type", formType)
		},
		"JSON": func(path, secret string, more url.Values) *http.Request {
			object := map[string]any{"client_id": w.shop.ClientID, "client_secret": secret, "a_list": []int{1, 2}}
			for name := range more {
				object[name] = more.Get(name)
			}
			text, _ := json.Marshal(object)
			return w.request(http.MethodPost, path, string(text), "Content-Type", "application/json; charset=UTF-8")
		},
		"Basic": func(path, secret string, more url.Values) *http.Request {
			return w.request(http.MethodPost, path, more.Encode(), "Content-Type", formType, "Authorization", basic(w.shop.ClientID, secret))
		},
		"Basic, form-encoded, with the client ID in the body, too": func(path, secret string, more url.Values) *http.Request {
			more.Set("client_id", w.shop.ClientID)
			encoded := ""
			for _, c := range []byte(secret) {
				encoded += fmt.Sprintf("%%%02x", c)
			}
			return w.request(http.MethodPost, path, more.Encode(), "Content-Type", formType, "Authorization", basic(w.shop.ClientID, encoded))
		},
		"Basic, with an empty secret in the body": func(path, secret string, more url.Values) *http.Request {
			more.Set("client_id", w.shop.ClientID)
			more.Set("client_secret", "")
			return w.request(http.MethodPost, path, more.Encode(), "Content-Type", formType, "Authorization", basic(w.shop.ClientID, secret))
		},
		"Basic and JSON": func(path, secret string, more url.Values) *http.Request {
			object := map[string]any{"client_secret": ""}
			for name := range more {
				object[name] = more.Get(name)
			}
			text, _ := json.Marshal(object)
			return w.request(http.MethodPost, path, string(text), "Content-Type", "application/json", "Authorization", basic(w.shop.ClientID, secret))
		},
		"chunked": func(path, secret string, more url.Values) *http.Request {
			more.Set("client_id", w.shop.ClientID)
			more.Set("client_secret", secret)
			r := w.request(http.MethodPost, path, more.Encode(), "Content-Type", formType)
			r.Body, r.ContentLength, r.GetBody = io.NopCloser(r.Body), -1, nil
			return r
		},
	}
}

// endpoints are all that carry client authentication, with what they need and answer.
var endpoints = map[string]struct {
	body   url.Values
	status int
	field  string
}{
	"/oauth/token":  {url.Values{"grant_type": {"client_credentials"}}, 200, "access_token"},
	"/oauth/revoke": {url.Values{"token": {"a-token"}}, 200, ""},
	"/oauth/par":    {url.Values{"response_type": {"code"}, "redirect_uri": {callback}}, 201, "request_uri"},
	"/bc-authorize": {url.Values{"scope": {"openid"}, "binding_message": {"hi"}, "login_hint": {"{}"}}, 200, "auth_req_id"},
}

func clone(values url.Values) url.Values {
	cloned := url.Values{}
	for name := range values {
		cloned.Set(name, values.Get(name))
	}
	return cloned
}

// TestEveryEndpointByEveryWay: the local secret logs in where the present one would, and a
// wrong one nowhere, without Auth0 being asked.
func TestEveryEndpointByEveryWay(t *testing.T) {
	t.Run("secret", func(t *testing.T) { everyEndpointByEveryWay(t, newWorld(t)) })
	t.Run("private key", func(t *testing.T) { everyEndpointByEveryWay(t, newKeyWorld(t)) })
}

func everyEndpointByEveryWay(t *testing.T, w *world) {
	for path, endpoint := range endpoints {
		for name, way := range w.ways() {
			t.Run(path+" "+name, func(t *testing.T) {
				got := w.do(way(path, local, clone(endpoint.body)))
				require.Equal(t, endpoint.status, got.status, got.body)
				if endpoint.field != "" {
					assert.NotEmpty(t, got.field(endpoint.field))
				}
				assert.Equal(t, "no-store", got.header.Get("Cache-Control"), "headers are passed on")

				before := w.tenant.Stats()
				for _, wrong := range []string{"wrong", local + "x", local[1:], "", w.shop.ClientSecret, strings.ToUpper(local)} {
					got := w.do(way(path, wrong, clone(endpoint.body)))
					assert.Equal(t, 401, got.status)
					assert.JSONEq(t, `{"error":"access_denied","error_description":"Unauthorized"}`, got.body)
				}
				assert.Equal(t, before, w.tenant.Stats(), "Auth0 is not asked")
			})
		}
	}
}

// TestAllWaysFallBack: Auth0 refuses the first secret.
func TestAllWaysFallBack(t *testing.T) {
	for path, endpoint := range endpoints {
		w := newWorld(t)
		for name, way := range w.ways() {
			w.source.set("not-set-yet-"+name, w.shop.ClientSecret) // the proxy knows nothing of it
			got := w.do(way(path, local, clone(endpoint.body)))
			assert.Equal(t, endpoint.status, got.status, "%s %s: %s", path, name, got.body)
		}
	}
}

// TestTheRestOfTheRequestStaysAsItIs, to the byte.
func TestTheRestOfTheRequestStaysAsItIs(t *testing.T) {
	var body, contentType, authorization string
	var header http.Header
	w := newWorldBefore(t, func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		body, contentType, authorization, header = string(raw), r.Header.Get("Content-Type"), r.Header.Get("Authorization"), r.Header
	}, "the real+secret/")
	for given, want := range map[string]string{
		"a=%41+b&client_id=shop&client_secret=" + local + "&&resource=1&resource[]=2&empty": "a=%41+b&client_id=shop&client_secret=the+real%2Bsecret%2F&&resource=1&resource[]=2&empty",
		"client%5Fsecret=" + local + "&client_id=%73hop":                                    "client%5Fsecret=the+real%2Bsecret%2F&client_id=%73hop",
		"client_id=shop&client_secret=%6c" + local[1:]:                                      "client_id=shop&client_secret=the+real%2Bsecret%2F",
	} {
		assert.Equal(t, 200, w.post("/oauth/token", given, "auth0-forwarded-for", "192.0.2.1", "User-Agent", "a-library").status)
		assert.Equal(t, want, body)
		assert.Equal(t, formType, contentType)
		assert.Equal(t, "192.0.2.1", header.Get("auth0-forwarded-for"))
		assert.Equal(t, "a-library", header.Get("User-Agent"))
	}
	const typed = "application/json;charset=utf-8"
	got := w.do(w.request("POST", "/oauth/token", `{ "client_id":"shop", "n": 1.0e5 ,"client\u005fsecret" : "`+local+`","o":{"client_secret":1}}`, "Content-Type", typed))
	assert.Equal(t, 200, got.status)
	want := `{ "client_id":"shop", "n": 1.0e5 ,"client\u005fsecret" : "the real+secret/","o":{"client_secret":1}}`
	assert.Equal(t, want, body)
	assert.Equal(t, typed, contentType)
	got = w.post("/oauth/token", "a=%41", "Authorization", basic("shop", local))
	assert.Equal(t, 200, got.status)
	assert.Equal(t, "a=%41", body)
	assert.Equal(t, basic("shop", "the+real%2Bsecret%2F"), authorization)
}

// TestCodesAndRefreshTokens: the steps of a user's login, through a rotation.
func TestCodesAndRefreshTokens(t *testing.T) {
	w := newWorld(t)
	refresh := ""
	for i, secrets := range [][]string{{w.shop.ClientSecret}, {w.shop.ClientSecret, "next-secret"}, {"next-secret"}} {
		w.source.set(secrets...)
		if i == 2 {
			w.rotate("next-secret")
		}
		got := w.post("/oauth/token", w.form(local, "grant_type", "authorization_code", "code", w.code(), "redirect_uri", callback))
		require.Equal(t, 200, got.status, got.body)
		require.NotEmpty(t, got.field("id_token"))
		if refresh == "" {
			refresh = got.field("refresh_token")
		}
		got = w.post("/oauth/token", w.form(local, "grant_type", "refresh_token", "refresh_token", refresh))
		require.Equal(t, 200, got.status, got.body)
	}
	got := w.post("/oauth/token", w.form(local, "grant_type", "authorization_code", "code", "none", "redirect_uri", callback))
	assert.Equal(t, 403, got.status)
	assert.Equal(t, "invalid_grant", got.field("error"))
}

// code has the user log in, through the proxy.
func (w *world) code() string {
	w.t.Helper()
	query := url.Values{"client_id": {w.shop.ClientID}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid offline_access"}}
	got := w.do(w.request(http.MethodGet, "/authorize?"+query.Encode(), ""))
	require.Equal(w.t, http.StatusFound, got.status)
	to, err := url.Parse(got.header.Get("Location"))
	require.NoError(w.t, err)
	return to.Query().Get("code")
}

// TestNoCodeIsLostToADeadSecret, also if Auth0 voids a code that comes with a wrong one:
// but for the login that finds it dead.
func TestNoCodeIsLostToADeadSecret(t *testing.T) {
	w := newWorld(t)
	w.tenant.SpendCodesOnRefusal(true)
	lost := func() (n int) {
		for range 10 {
			if w.post("/oauth/token", w.form(local, "grant_type", "authorization_code", "code", w.code(), "redirect_uri", callback)).status != 200 {
				n++
			}
		}
		return n
	}
	w.source.set(w.shop.ClientSecret, "next-secret")
	assert.Zero(t, lost())
	w.rotate("next-secret")
	assert.Equal(t, 1, lost())
	w.source.set("next-secret", w.shop.ClientSecret)
	assert.Zero(t, lost())
}

// TestARefusalIsPassedOn: none of the secrets is right.
func TestARefusalIsPassedOn(t *testing.T) {
	w := newWorld(t)
	w.source.set("dead", "dead, too")
	got := w.post("/oauth/token", w.form(local))
	assert.Equal(t, 401, got.status)
	assert.JSONEq(t, `{"error":"access_denied","error_description":"Unauthorized"}`, got.body)
	assert.Equal(t, 4, w.tenant.Stats().Logins.Attempts.Refused)
	got = w.post("/oauth/token", w.form(local, "audience", "https://unknown.example.com/"))
	assert.Equal(t, 401, got.status)
	w.source.set(w.shop.ClientSecret)
	got = w.post("/oauth/token", w.form(local, "audience", "https://unknown.example.com/"))
	assert.Equal(t, 403, got.status, "the more telling one")
	assert.Contains(t, got.body, "Service not enabled")
}

// TestTheLogSaysWhoRefused: the proxy, or else Auth0.
func TestTheLogSaysWhoRefused(t *testing.T) {
	w := newWorld(t)
	check := func(body string, status int, own bool) {
		before := len(w.logs.String())
		assert.Equal(t, status, w.post("/oauth/token", body).status)
		said := func() string { return w.logs.String()[before:] }
		require.Eventually(t, func() bool { return strings.Contains(said(), "msg=request") }, 10*time.Second, time.Millisecond)
		assert.Equal(t, own, strings.Contains(said(), " by=proxy"), said())
	}
	check(w.form("wrong"), 401, true)
	check(w.form(local, "client_id", "unknown"), 401, true)
	check(w.form("wrong", "client_id", "unknown"), 401, false) // passed on
	check(w.form(local), 200, false)
	w.rotate("rotated-by-force")
	check(w.form(local), 401, false)
	w.tenant.SetDown(true)
	check(w.form(local), 502, true)
}

// TestOtherApplications are passed on as they are, unless -only-login refuses them. The
// local secret is not.
func TestOtherApplications(t *testing.T) {
	for _, strict := range []bool{false, true} {
		w := newWorld(t, func(c *Config) { c.OnlyLogin = strict })
		other := w.tenant.AddApplication(tenant.Application{})
		for name, way := range w.ways() {
			w.shop.ClientID = other.ClientID
			got := w.do(way("/oauth/token", local, clone(endpoints["/oauth/token"].body)))
			assert.Equal(t, 401, got.status, name)
			assert.Zero(t, w.tenant.Stats().Logins.Attempts.Refused, "Auth0 is not asked")
			want := 200
			if strict {
				want = 403
			}
			r := way("/oauth/token", other.ClientSecret, clone(endpoints["/oauth/token"].body))
			resp, err := w.front.Client().Do(r) // the answer is nobody's secret
			require.NoError(t, err)
			_ = resp.Body.Close()
			assert.Equal(t, want, resp.StatusCode, name)
		}
		w.shop.ClientID = ""
		assert.Equal(t, 401, w.post("/oauth/token", w.form(local)).status)
	}
}

// TestSeveralApplications have each their own secrets.
func TestSeveralApplications(t *testing.T) {
	tn := newTenant(t)
	first, second := tn.AddApplication(tenant.Application{}), tn.AddApplication(tenant.Application{})
	const otherLocal = "another-local-secret-0123456789-abcdefg"
	w := &world{t: t, tenant: tn, logs: &logs{}, shop: first}
	w.source = &credentials{domain: tn.Domain(), id: first.ClientID, secrets: []string{first.ClientSecret}}
	w.start(Config{Domain: tn.Domain(), CACert: tn.CACert()}, func(c *Config) {
		c.Applications = append(c.Applications, Application{LocalSecret: otherLocal, Source: &credentials{
			domain: tn.Domain(), id: second.ClientID, secrets: []string{second.ClientSecret},
		}})
	})
	assert.Equal(t, 200, w.post("/oauth/token", w.form(local)).status)
	assert.Equal(t, 401, w.post("/oauth/token", w.form(otherLocal)).status)
	w.shop = second
	assert.Equal(t, 200, w.post("/oauth/token", w.form(otherLocal)).status)
	assert.Equal(t, 401, w.post("/oauth/token", w.form(local)).status)
	assert.Zero(t, tn.Stats().Logins.Attempts.Refused)
}

// TestCredentialsThatCannotBeRead: nothing passes that could be the local secret, until
// the client ID is known; what is known goes on to be used.
func TestCredentialsThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	health := func() int {
		r := w.request("GET", "/", "")
		answer := recorded(w.proxy.Health(), r)
		return answer.Code
	}
	w.source.fail(errors.New("the file is not there"))
	assert.Equal(t, 503, health())
	for _, way := range w.ways() {
		got := w.do(way("/oauth/token", local, clone(endpoints["/oauth/token"].body)))
		assert.Equal(t, 503, got.status)
		assert.Equal(t, "temporarily_unavailable", got.field("error"))
	}
	assert.Contains(t, w.logs.String(), "the file is not there")
	w.source.fail(nil)
	assert.Equal(t, 200, health())
	assert.Equal(t, 200, w.post("/oauth/token", w.form(local)).status)
	w.source.fail(errors.New("the file is gone"))
	assert.Equal(t, 503, w.post("/oauth/token", w.form(local)).status)
	assert.Contains(t, w.logs.String(), "the file is gone")

	w.source.fail(nil)
	other := w.tenant.AddApplication(tenant.Application{})
	w.source.mu.Lock()
	w.source.id, w.source.secrets = other.ClientID, []string{other.ClientSecret}
	w.source.mu.Unlock()
	assert.Equal(t, 503, w.post("/oauth/token", w.form(local)).status, "a secret is never sent for another client ID than its own")
	assert.Zero(t, w.tenant.Stats().Logins.Attempts.Refused)
	w.shop = other
	assert.Equal(t, 200, w.post("/oauth/token", w.form(local)).status)

	w.source.mu.Lock()
	w.source.domain = "evil.example.com"
	w.source.mu.Unlock()
	assert.Equal(t, 503, w.post("/oauth/token", w.form(local)).status, "the domain is up to the configuration")
}

// TestRotations: logins by several at once all the time, while the secret is rotated
// staged, with every way of slow propagation.
func TestRotations(t *testing.T) {
	for _, mode := range []tenant.PropagationMode{tenant.BothAccepted, tenant.OldOnly, tenant.NewOnly, tenant.Mixed} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			const slow = 100 * time.Millisecond
			w.tenant.SetPropagation(tenant.Propagation{Delay: slow, Mode: mode})
			stop := make(chan struct{})
			var logins sync.WaitGroup
			for worker := range 3 {
				logins.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						got := w.post("/oauth/token", w.form(local), "X-Login-Id", fmt.Sprint(mode, worker, i))
						assert.Equal(t, 200, got.status, got.body)
					}
				})
			}
			present := w.shop.ClientSecret
			for i := range 5 {
				next := fmt.Sprintf("the-next-secret-%d-%s", i, mode)
				w.source.set(present, next) // staged
				w.logIn(3)
				w.rotate(next)
				w.logIn(3)
				w.source.set(next, present)
				for set := time.Now(); time.Since(set) < 2*slow; {
					w.logIn(1)
				}
				w.source.set(next)
				w.logIn(3)
				present = next
			}
			close(stop)
			logins.Wait()
			assert.Zero(t, w.tenant.Stats().Logins.Refused)
			assert.NotZero(t, w.proxy.counts.fellBack.Load())
		})
	}
}

var loginIDs struct {
	sync.Mutex
	n int
}

// logIn logs in some times, each as a login of its own.
func (w *world) logIn(times int) {
	w.t.Helper()
	for range times {
		loginIDs.Lock()
		loginIDs.n++
		id := fmt.Sprint("own ", loginIDs.n)
		loginIDs.Unlock()
		got := w.post("/oauth/token", w.form(local), "X-Login-Id", id)
		assert.Equal(w.t, 200, got.status, got.body)
	}
}

// TestAForcedRotationIsOverWhenTheCredentialsAreReadAgain.
func TestAForcedRotationIsOverWhenTheCredentialsAreReadAgain(t *testing.T) {
	w := newWorld(t)
	w.logIn(1)
	w.rotate("forced")
	assert.Equal(t, 401, w.post("/oauth/token", w.form(local)).status)
	w.source.set("forced", w.shop.ClientSecret)
	w.logIn(2)
}

// TestAClientIDThatChangesMeanwhile: a login is only ever made as the client ID that it
// names.
func TestAClientIDThatChangesMeanwhile(t *testing.T) {
	w := newWorldBefore(t, nil, real)
	app := w.proxy.applications[0]
	ids := [2]string{"shop", "other"}
	app.clientID.Store(&ids[0])
	stop := make(chan struct{})
	var changing sync.WaitGroup
	changing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				app.clientID.Store(&ids[i%2])
			}
		}
	})
	r := w.request("POST", "/oauth/token", "", "Authorization", basic("shop", local))
	body, err := parse(nil, false)
	require.NoError(t, err)
	for range 20_000 {
		if l, _ := w.proxy.authenticate(r, body); l != nil {
			require.Equal(t, "shop", l.clientID)
		}
	}
	close(stop)
	changing.Wait()
}
