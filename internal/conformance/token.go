package conformance

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

var tokenAssumptions = []Assumption{
	{"token-answer", "A token answer is 200 with `access_token`, `expires_in` in seconds and `token_type` Bearer; it may lack `scope`.",
		Recorded, "recorded traffic of go-auth0: TestLoginWithClientCredentials", []string{createGrants}, func(t *trial) (string, bool) {
			got := t.logIn(t.theApp())
			lifetime, isNumber := got.object["expires_in"].(float64)
			seen := fmt.Sprintf("%d with %s; expires_in %v, token_type %q", got.status,
				got.members("access_token", "expires_in", "scope", "token_type"), got.object["expires_in"], got.text("token_type"))
			return seen, got.status == http.StatusOK && got.text("access_token") != "" && isNumber && lifetime > 0 &&
				strings.EqualFold(got.text("token_type"), "Bearer")
		}},
	{"token-basic", "An application set to client_secret_basic logs in by HTTP Basic.",
		Documented, "https://auth0.com/docs/get-started/applications/credentials", []string{createGrants}, checkTokenBasic},
	{"token-wrong-secret", "A wrong secret is refused with 401 access_denied, Unauthorized.",
		Recorded, "https://github.com/auth0/node-auth0/issues/582", []string{createGrants}, func(t *trial) (string, bool) {
			got := t.logIn(t.withWrongSecret(t.theApp()))
			return got.String(), got.isOAuthError(http.StatusUnauthorized, "access_denied") && got.text("error_description") == "Unauthorized"
		}},
	{"token-unknown-client", "An unknown client ID is refused with 401 or 403 in the form of OAuth errors.",
		Unknown, "no document says it", nil, func(t *trial) (string, bool) {
			got := t.logIn(Application{ClientID: strings.Repeat(randomHex(), 4), ClientSecret: t.newSecret()})
			return got.String(), got.isOAuthError(http.StatusUnauthorized, "") || got.isOAuthError(http.StatusForbidden, "")
		}},
	{"token-unknown-audience", "An audience that no API has is refused with 403 or 404 in the form of OAuth errors.",
		Unknown, "no document says it", []string{createGrants}, func(t *trial) (string, bool) {
			got := t.ask(passwords(t.theApp(), "https://conformance.invalid/"+t.id), nil)
			return got.String(), got.isOAuthError(http.StatusForbidden, "") || got.isOAuthError(http.StatusNotFound, "")
		}},
	{"token-no-grant", "Without a client grant for the audience the right secret is answered with 403 access_denied.",
		Recorded, "https://github.com/auth0/ruby-auth0/issues/610", nil, func(t *trial) (string, bool) {
			got := t.logIn(t.ungranted())
			return got.String(), got.isOAuthError(http.StatusForbidden, "access_denied")
		}},
	{"secret-before-grant", "The secret is checked before the client grant: without one, a wrong secret is answered with 401. So the answer proves a secret.",
		Unknown, "RFC 6749, 3.2.1, has the client authenticated first", nil, func(t *trial) (string, bool) {
			got := t.logIn(t.withWrongSecret(t.ungranted()))
			return got.String(), got.status == http.StatusUnauthorized
		}},
	{"secret-before-grant-type", "The secret is checked before the grant type: one that is not allowed is answered with 403 unauthorized_client, with a wrong secret with 401.",
		Unknown, "https://github.com/auth0/ruby-auth0/issues/190 has the 403; the order is not told", nil, func(t *trial) (string, bool) {
			app := t.webApplication()
			return secretComesFirst(t.logIn(app), t.logIn(t.withWrongSecret(app)), "unauthorized_client")
		}},
	{"code-after-secret", "The secret is checked before an authorization code: an invalid code is answered with 403 invalid_grant, with a wrong secret with 401.",
		Unknown, "recorded traffic of go-auth0 has the invalid_grant; the order is not told", nil, func(t *trial) (string, bool) {
			redeem := func(app Application) answer {
				return t.ask(url.Values{
					"grant_type": {"authorization_code"}, "code": {"not-a-code-" + t.id}, "redirect_uri": {"https://conformance.invalid/callback"},
					"client_id": {app.ClientID}, "client_secret": {app.ClientSecret},
				}, nil)
			}
			app := t.webApplication()
			return secretComesFirst(redeem(app), redeem(t.withWrongSecret(app)), "invalid_grant")
		}},
	{"code-survives-refusal", "An authorization code that came with a refused secret is still good with the right one.",
		Unknown, "RFC 6749 can be read both ways: 3.2.1 and 4.1.3, 10.5", nil, byHand("a person has to log in with a browser to get a code")},
}

// secretComesFirst compares the answer to the right secret, an error with a code, with
// that to a wrong one.
func secretComesFirst(right, wrong answer, code string) (string, bool) {
	return fmt.Sprintf("right secret: %s. Wrong secret: %s", right, wrong),
		right.isOAuthError(http.StatusForbidden, code) && wrong.status == http.StatusUnauthorized
}

func checkTokenBasic(t *trial) (string, bool) {
	settings := maps.Clone(machine)
	settings["token_endpoint_auth_method"] = "client_secret_basic"
	app := t.make("basic", settings)
	defer t.discard(app)
	byBasic := func(app Application) answer {
		pair := url.QueryEscape(app.ClientID) + ":" + url.QueryEscape(app.ClientSecret)
		return t.ask(url.Values{"grant_type": {"client_credentials"}, "audience": {t.tenant.Audience}},
			http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(pair))}})
	}
	// It has no grant: the right secret is answered with 403, a wrong one with 401.
	basic, body, post := byBasic(app), t.logIn(app), byBasic(t.theApp())
	seen := fmt.Sprintf("%s (no grant was made). Its secret in the body: %d. Basic for an application set to client_secret_post: %d",
		basic, body.status, post.status)
	return seen, basic.isOAuthError(http.StatusForbidden, "access_denied")
}

func (t *trial) withWrongSecret(app Application) Application {
	app.ClientSecret = t.newSecret()
	return app
}

// theApp is an application that many checks share. None changes it.
func (t *trial) theApp() Application {
	return t.app.get(t, func(t *trial) Application { return t.make("app", machine, readClients) })
}

// ungranted is an application that may not get tokens for any audience.
func (t *trial) ungranted() Application {
	return t.bare.get(t, func(t *trial) Application { return t.make("ungranted", machine) })
}

// webApplication is one that logs users in, and may not use client_credentials.
func (t *trial) webApplication() Application {
	return t.web.get(t, func(t *trial) Application {
		return t.make("web", map[string]any{
			"app_type": "regular_web", "grant_types": []string{"authorization_code"}, "token_endpoint_auth_method": "client_secret_post",
		})
	})
}
