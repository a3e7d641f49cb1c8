package tenant

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// DefaultAPI is the audience of the API that every tenant has, with the scopes
// read:orders and write:orders. Tokens are for it if their request names none.
const DefaultAPI = "https://api.example.com/"

// API is an API ("resource server") that applications get access tokens for.
type API struct {
	Audience      string        // its identifier
	Scopes        []string      // all that there are
	TokenLifetime time.Duration // 0: Options.TokenLifetime
}

// OrganizationUsage says whether the tokens of a grant are for an organization.
type OrganizationUsage string

// The organization usages, by Auth0's names.
const (
	DenyOrganizations    OrganizationUsage = "deny" // the default
	AllowOrganizations   OrganizationUsage = "allow"
	RequireOrganizations OrganizationUsage = "require"
)

// Grant is what an application may have of an API: Auth0's client grant.
type Grant struct {
	Scopes            []string
	OrganizationUsage OrganizationUsage
	Organizations     []string // IDs of those that it is good for
}

// AddAPI adds an API, or changes it for tokens that are issued from now on.
func (t *Tenant) AddAPI(api API) {
	t.mu.Lock()
	defer t.mu.Unlock()
	api.Scopes, api.TokenLifetime = slices.Clone(api.Scopes), cmp.Or(api.TokenLifetime, t.lifetime)
	t.apis[api.Audience] = api
}

// SetGrant grants an application access to an API, in place of what it had. It
// panics if there is no such API or scope, which Auth0 refuses, too. For the
// Management API there is SetScopes.
func (t *Tenant) SetGrant(clientID, audience string, granted Grant) {
	t.withApplication(clientID, func(a *application) {
		api, ok := t.apis[audience]
		unknown := func(scope string) bool { return !slices.Contains(api.Scopes, scope) }
		if !ok || slices.ContainsFunc(granted.Scopes, unknown) {
			panic(fmt.Sprintf("simulated tenant: there is no API %q with the scopes %q", audience, granted.Scopes))
		}
		granted.Scopes, granted.Organizations = slices.Clone(granted.Scopes), slices.Clone(granted.Organizations)
		a.grants[audience] = granted
	})
}

// RemoveGrant takes back what an application was granted of an API. Tokens that
// it has stay good: no API asks.
func (t *Tenant) RemoveGrant(clientID, audience string) {
	t.withApplication(clientID, func(a *application) { delete(a.grants, audience) })
}

// takes checks the parameter organization of a request for a token. That it must
// or must not be there is documented, and these texts are known of /authorize;
// that /oauth/token has the same ones, and the statuses, is assumed.
func (g Grant) takes(organization string) error {
	invalid := func(why string) error {
		return oauthError(http.StatusBadRequest, "invalid_request", "parameter organization is "+why+" for this client")
	}
	switch {
	case organization == "" && g.OrganizationUsage == RequireOrganizations:
		return invalid("required")
	case organization == "":
		return nil
	case g.OrganizationUsage != AllowOrganizations && g.OrganizationUsage != RequireOrganizations:
		return invalid("not allowed")
	case !slices.Contains(g.Organizations, organization):
		return oauthError(http.StatusForbidden, "access_denied", "Client is not authorized to access organization: "+organization)
	}
	return nil
}

// accessToken makes a token for an API, with the claims of Auth0's default
// profile. There is no jti: tokens of the same second and for the same are the
// same, and signed once.
func (t *Tenant) accessToken(clientID string, api API, granted []string, organization string) string {
	now := t.now()
	claims := map[string]any{
		"iss": t.issuer(), "sub": clientID + "@clients", "aud": api.Audience, "azp": clientID, "gty": "client-credentials",
		"iat": now.Unix(), "exp": now.Add(api.TokenLifetime).Unix(),
	}
	if len(granted) > 0 {
		claims["scope"] = strings.Join(granted, " ")
	}
	if organization != "" {
		claims["org_id"] = organization
	}
	all := string(jsonAnswer(http.StatusOK, claims).body)
	token, again := t.apiTokens[all]
	if !again {
		token = signed(jose.SigningKey{Algorithm: jose.RS256, Key: signing()}, claims)
		keep(t.apiTokens, all, token)
	}
	return token
}
