package tenant

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// ProtectedAPI is an API that takes calls with an access token for it, which it
// answers with the token's claims, and refuses all others. Of the tenant it knows
// what any API does: the issuer, and the keys that it publishes.
type ProtectedAPI struct {
	issuer, audience, scope string
	http                    *http.Client
	now                     func() time.Time

	mu    sync.Mutex
	keys  *jose.JSONWebKeySet // as they were fetched last; nil: not yet
	calls Calls
}

// Calls are the counts of a ProtectedAPI.
type Calls struct {
	Accepted, Refused int
	LastRefusal       string // why
}

var errNoScope = errors.New("the token lacks the scope of this API")

// Protect makes an API that trusts this tenant, and wants a scope unless it is "".
func (t *Tenant) Protect(audience, scope string) *ProtectedAPI {
	return &ProtectedAPI{issuer: t.issuer(), audience: audience, scope: scope, http: t.HTTPClient(), now: t.now}
}

// Calls gives the counts until now.
func (a *ProtectedAPI) Calls() Calls {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

// ServeHTTP takes a call, or refuses it as RFC 6750 says: 401, or 403 for want of
// the scope.
func (a *ProtectedAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	claims, err := a.verify(r)
	a.mu.Lock()
	if err == nil {
		a.calls.Accepted++
	} else {
		a.calls.Refused++
		a.calls.LastRefusal = err.Error()
	}
	a.mu.Unlock()
	switch {
	case errors.Is(err, errNoScope):
		w.WriteHeader(http.StatusForbidden)
	case err != nil:
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
	}
	_ = json.NewEncoder(w).Encode(claims)
}

// verify gives the claims of a call's token if it is good.
func (a *ProtectedAPI) verify(r *http.Request) (claims map[string]any, err error) {
	_, value, _ := strings.Cut(r.Header.Get("Authorization"), "Bearer ")
	token, err := jwt.ParseSigned(value, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, err
	}
	keys, err := a.keysWith(token.Headers[0].KeyID)
	if err != nil {
		return nil, fmt.Errorf("the issuer's keys: %w", err)
	}
	var registered jwt.Claims
	if err := token.Claims(keys, &registered, &claims); err != nil {
		return nil, err
	}
	wanted := jwt.Expected{Issuer: a.issuer, AnyAudience: jwt.Audience{a.audience}, Time: a.now()}
	if err := registered.ValidateWithLeeway(wanted, 0); err != nil {
		return nil, err
	}
	scope, _ := claims["scope"].(string)
	switch {
	case registered.Expiry == nil:
		return nil, errors.New("the token has no end")
	case a.scope != "" && !slices.Contains(strings.Fields(scope), a.scope):
		return nil, errNoScope
	}
	return claims, nil
}

// keysWith gives the issuer's keys. They are fetched only if this one is not among
// those that are known.
func (a *ProtectedAPI) keysWith(kid string) (*jose.JSONWebKeySet, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.keys != nil && len(a.keys.Key(kid)) > 0 {
		return a.keys, nil
	}
	answer, err := a.http.Get(a.issuer + ".well-known/jwks.json") //nolint:noctx // all calls need them
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	fetched := new(jose.JSONWebKeySet)
	if err := json.NewDecoder(answer.Body).Decode(fetched); err != nil {
		return nil, err
	}
	a.keys = fetched
	return fetched, nil
}
