package conformance

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

var tokenAssumptions = []Assumption{
	{
		Name:     "token-answer",
		Assumed:  "A token answer is 200 with `access_token`, `expires_in` in seconds and `token_type` Bearer; it may lack `scope`.",
		Evidence: Recorded, Source: "recorded traffic of go-auth0: TestLoginWithClientCredentials",
		Scopes: []string{createGrants}, check: checkTokenAnswer,
	},
	{
		Name:     "token-basic",
		Assumed:  "An application set to client_secret_basic logs in by HTTP Basic.",
		Evidence: Documented, Source: "https://auth0.com/docs/get-started/applications/credentials",
		Scopes: []string{createGrants}, check: checkTokenBasic,
	},
	{
		Name:     "token-wrong-secret",
		Assumed:  "A wrong secret is refused with 401 access_denied, Unauthorized.",
		Evidence: Recorded, Source: "https://github.com/auth0/node-auth0/issues/582",
		Scopes: []string{createGrants}, check: checkTokenWrongSecret,
	},
	{
		Name:     "token-unknown-client",
		Assumed:  "An unknown client ID is refused with 401 or 403 in the form of OAuth errors.",
		Evidence: Unknown, Source: "no document says it",
		check: checkTokenUnknownClient,
	},
	{
		Name:     "token-unknown-audience",
		Assumed:  "An audience that no API has is refused with 403 or 404 in the form of OAuth errors.",
		Evidence: Unknown, Source: "no document says it",
		Scopes: []string{createGrants}, check: checkTokenUnknownAudience,
	},
	{
		Name:     "token-no-grant",
		Assumed:  "Without a client grant for the audience the right secret is answered with 403 access_denied.",
		Evidence: Recorded, Source: "https://github.com/auth0/ruby-auth0/issues/610",
		check: checkTokenNoGrant,
	},
	{
		Name:     "secret-before-grant",
		Assumed:  "The secret is checked before the client grant: without one, a wrong secret is answered with 401. So the answer proves a secret.",
		Evidence: Unknown, Source: "RFC 6749, 3.2.1, has the client authenticated first",
		check: checkSecretBeforeGrant,
	},
	{
		Name:     "secret-before-grant-type",
		Assumed:  "The secret is checked before the grant type: one that is not allowed is answered with 403 unauthorized_client, with a wrong secret with 401.",
		Evidence: Unknown, Source: "https://github.com/auth0/ruby-auth0/issues/190 has the 403; the order is not told",
		check: checkSecretBeforeGrantType,
	},
	{
		Name:     "code-after-secret",
		Assumed:  "The secret is checked before an authorization code: an invalid code is answered with 403 invalid_grant, with a wrong secret with 401.",
		Evidence: Unknown, Source: "recorded traffic of go-auth0 has the invalid_grant; the order is not told",
		check: checkCodeAfterSecret,
	},
	{
		Name:     "code-survives-refusal",
		Assumed:  "An authorization code that came with a refused secret is still good with the right one.",
		Evidence: Unknown, Source: "RFC 6749 can be read both ways: 3.2.1 and 4.1.3, 10.5",
		check: func(context.Context, *Run) (string, bool, error) { return "", false, errByHand },
	},
}

func checkTokenAnswer(ctx context.Context, r *Run) (string, bool, error) {
	app, err := r.theApp(ctx)
	if err != nil {
		return "", false, err
	}
	got, err := r.logIn(ctx, app)
	if err != nil {
		return "", false, err
	}
	lifetime, isNumber := got.object["expires_in"].(float64)
	seen := fmt.Sprintf("%d with %s; expires_in %v, token_type %q", got.status,
		strings.Join(got.members("access_token", "expires_in", "scope", "token_type"), ", "), got.object["expires_in"], got.text("token_type"))
	return seen, got.status == http.StatusOK && got.text("access_token") != "" && isNumber && lifetime > 0 &&
		strings.EqualFold(got.text("token_type"), "Bearer"), nil
}

func checkTokenBasic(ctx context.Context, r *Run) (string, bool, error) {
	settings := machine()
	settings["token_endpoint_auth_method"] = "client_secret_basic"
	app, err := r.make(ctx, "basic", settings)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = r.remove(ctx, app.ClientID) }()
	// It has no grant: the right secret is answered with 403, a wrong one with 401.
	basic, err := r.basic(ctx, app)
	if err != nil {
		return "", false, err
	}
	body, err := r.logIn(ctx, app)
	if err != nil {
		return "", false, err
	}
	other, err := r.theApp(ctx)
	if err != nil {
		return "", false, err
	}
	post, err := r.basic(ctx, other)
	if err != nil {
		return "", false, err
	}
	seen := fmt.Sprintf("%s (no grant was made). Its secret in the body: %d. Basic for an application set to client_secret_post: %d",
		basic, body.status, post.status)
	return seen, basic.isOAuthError(http.StatusForbidden, "access_denied"), nil
}

// basic asks for a token with the secret in HTTP Basic.
func (r *Run) basic(ctx context.Context, app Application) (answer, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "audience": {r.tenant.Audience}}
	pair := url.QueryEscape(app.ClientID) + ":" + url.QueryEscape(app.ClientSecret)
	return r.ask(ctx, form, http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(pair))}})
}

func checkTokenWrongSecret(ctx context.Context, r *Run) (string, bool, error) {
	app, err := r.theApp(ctx)
	if err != nil {
		return "", false, err
	}
	app.ClientSecret = r.newSecret()
	got, err := r.logIn(ctx, app)
	return got.String(), got.isOAuthError(http.StatusUnauthorized, "access_denied") && got.text("error_description") == "Unauthorized", err
}

func checkTokenUnknownClient(ctx context.Context, r *Run) (string, bool, error) {
	got, err := r.logIn(ctx, Application{ClientID: randomHex() + randomHex() + randomHex() + randomHex(), ClientSecret: r.newSecret()})
	return got.String(), (got.status == http.StatusUnauthorized || got.status == http.StatusForbidden) && got.isOAuthError(got.status, got.text("error")) && got.text("error") != "", err
}

func checkTokenUnknownAudience(ctx context.Context, r *Run) (string, bool, error) {
	app, err := r.theApp(ctx)
	if err != nil {
		return "", false, err
	}
	got, err := r.ask(ctx, url.Values{
		"grant_type": {"client_credentials"}, "audience": {"https://conformance.invalid/" + r.id},
		"client_id": {app.ClientID}, "client_secret": {app.ClientSecret},
	}, nil)
	return got.String(), (got.status == http.StatusForbidden || got.status == http.StatusNotFound) && got.text("error") != "" && got.text("error_description") != "", err
}

// ungranted is an application that may not get tokens for any audience.
func (r *Run) ungranted(ctx context.Context) (Application, error) {
	return r.bare.get(func() (Application, error) {
		app, err := r.make(ctx, "ungranted", machine())
		if err == nil && app.ClientSecret == "" {
			err = errNoSecret
		}
		return app, err
	})
}

func checkTokenNoGrant(ctx context.Context, r *Run) (string, bool, error) {
	app, err := r.ungranted(ctx)
	if err != nil {
		return "", false, err
	}
	got, err := r.logIn(ctx, app)
	return got.String(), got.isOAuthError(http.StatusForbidden, "access_denied"), err
}

func checkSecretBeforeGrant(ctx context.Context, r *Run) (string, bool, error) {
	app, err := r.ungranted(ctx)
	if err != nil {
		return "", false, err
	}
	app.ClientSecret = r.newSecret()
	got, err := r.logIn(ctx, app)
	return got.String(), got.status == http.StatusUnauthorized, err
}

// webApplication is one that logs users in, and may not use client_credentials.
func (r *Run) webApplication(ctx context.Context) (Application, error) {
	return r.web.get(func() (Application, error) {
		app, err := r.make(ctx, "web", map[string]any{
			"app_type": "regular_web", "grant_types": []string{"authorization_code"}, "token_endpoint_auth_method": "client_secret_post",
		})
		if err == nil && app.ClientSecret == "" {
			err = errNoSecret
		}
		return app, err
	})
}

func checkSecretBeforeGrantType(ctx context.Context, r *Run) (string, bool, error) {
	app, err := r.webApplication(ctx)
	if err != nil {
		return "", false, err
	}
	right, err := r.logIn(ctx, app)
	if err != nil {
		return "", false, err
	}
	app.ClientSecret = r.newSecret()
	wrong, err := r.logIn(ctx, app)
	return fmt.Sprintf("right secret: %s. Wrong secret: %s", right, wrong),
		right.isOAuthError(http.StatusForbidden, "unauthorized_client") && wrong.status == http.StatusUnauthorized, err
}

func checkCodeAfterSecret(ctx context.Context, r *Run) (string, bool, error) {
	app, err := r.webApplication(ctx)
	if err != nil {
		return "", false, err
	}
	redeem := func(secret string) (answer, error) {
		return r.ask(ctx, url.Values{
			"grant_type": {"authorization_code"}, "code": {"not-a-code-" + r.id}, "redirect_uri": {"https://conformance.invalid/callback"},
			"client_id": {app.ClientID}, "client_secret": {secret},
		}, nil)
	}
	right, err := redeem(app.ClientSecret)
	if err != nil {
		return "", false, err
	}
	wrong, err := redeem(r.newSecret())
	return fmt.Sprintf("right secret: %s. Wrong secret: %s", right, wrong),
		right.isOAuthError(http.StatusForbidden, "invalid_grant") && wrong.status == http.StatusUnauthorized, err
}
