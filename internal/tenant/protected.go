package tenant

import (
	"context"
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

// ProtectedAPI is an API that takes calls with an access token for it, and refuses
// all others. Of the tenant it knows what any API does: the issuer, and the keys that
// it publishes. It answers with the token's claims.
type ProtectedAPI struct {
	Issuer   string // such as https://example.eu.auth0.com/
	Audience string
	Scope    string       // that a token must have; "": none
	HTTP     *http.Client // trusts the issuer
	Now      func() time.Time

	mu    sync.Mutex
	keys  jose.JSONWebKeySet // as they were fetched last
	calls Calls
}

// Calls are the counts of a ProtectedAPI.
type Calls struct {
	Accepted, Refused int
	LastRefusal       string // why
}

// Protect makes an API that trusts this tenant.
func (t *Tenant) Protect(audience, scope string) *ProtectedAPI {
	return &ProtectedAPI{Issuer: t.issuer(), Audience: audience, Scope: scope, HTTP: t.HTTPClient(), Now: t.now}
}

// Calls gives the counts until now.
func (a *ProtectedAPI) Calls() Calls {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

// ServeHTTP takes a call or refuses it, as RFC 6750 says.
func (a *ProtectedAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	claims, err := a.verify(r)
	status, code := http.StatusUnauthorized, "invalid_token"
	scope, _ := claims["scope"].(string)
	if err == nil && a.Scope != "" && !slices.Contains(strings.Fields(scope), a.Scope) {
		err, status, code = errors.New("the token lacks the scope "+a.Scope), http.StatusForbidden, "insufficient_scope"
	}
	a.mu.Lock()
	if err == nil {
		a.calls.Accepted++
	} else {
		a.calls.Refused++
		a.calls.LastRefusal = err.Error()
	}
	a.mu.Unlock()
	if err != nil {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer error=%q", code))
		http.Error(w, code, status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(claims)
}

// verify gives the claims of a call's token if it is good.
func (a *ProtectedAPI) verify(r *http.Request) (claims map[string]any, err error) {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, errors.New("there is no token")
	}
	token, err := jwt.ParseSigned(value, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, err
	}
	keys, err := a.keysWith(r.Context(), token.Headers[0].KeyID)
	if err != nil {
		return nil, err
	}
	var registered jwt.Claims
	if err := token.Claims(keys, &registered, &claims); err != nil {
		return nil, err
	}
	if registered.Expiry == nil {
		return nil, errors.New("the token has no end")
	}
	return claims, registered.ValidateWithLeeway(jwt.Expected{
		Issuer: a.Issuer, AnyAudience: jwt.Audience{a.Audience}, Time: a.Now(),
	}, 0)
}

// keysWith gives the issuer's keys. They are fetched only if a key is not among
// those that are known.
func (a *ProtectedAPI) keysWith(ctx context.Context, kid string) (jose.JSONWebKeySet, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.keys.Key(kid)) > 0 {
		return a.keys, nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Issuer+".well-known/jwks.json", nil)
	if err != nil {
		return a.keys, err
	}
	answer, err := a.HTTP.Do(request)
	if err != nil {
		return a.keys, fmt.Errorf("the issuer's keys: %w", err)
	}
	defer answer.Body.Close()
	var fetched jose.JSONWebKeySet
	if err := json.NewDecoder(answer.Body).Decode(&fetched); err != nil {
		return a.keys, fmt.Errorf("the issuer's keys: %w", err)
	}
	a.keys = fetched
	return a.keys, nil
}
