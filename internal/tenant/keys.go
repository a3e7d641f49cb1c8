package tenant

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	assertionType        = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	maxAssertionLifetime = 5 * time.Minute
	assertionSkew        = 10 * time.Second
	maxKeys              = 2
	minKeyBits           = 2048
)

var (
	keyAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.PS256}
	kidPattern    = regexp.MustCompile(`^[0-9a-zA-Z_-]{10,64}$`)
)

// registeredKey is a public key of an application. In JSON, without its PEM:
//
//	{"id":"cred_22 characters","name":"...","kid":"...","alg":"RS256","credential_type":"public_key","created_at":"..."}
type registeredKey struct {
	ID        string                  `json:"id"`
	Name      string                  `json:"name"`
	KID       string                  `json:"kid"`
	Alg       jose.SignatureAlgorithm `json:"alg"`
	Type      string                  `json:"credential_type"`
	CreatedAt time.Time               `json:"created_at"`
	key       *rsa.PublicKey
}

// keyOrder is what POST .../credentials is sent.
type keyOrder struct {
	CredentialType string `json:"credential_type"`
	Name           string `json:"name"`
	PEM            string `json:"pem"`
	Alg            string `json:"alg"`
	KID            string `json:"kid"`
}

func newRegisteredKey(o keyOrder) (registeredKey, error) {
	if o.Alg == "" {
		o.Alg = string(jose.RS256)
	}
	alg := jose.SignatureAlgorithm(o.Alg)
	block, _ := pem.Decode([]byte(o.PEM))
	switch {
	case o.CredentialType != "public_key":
		return registeredKey{}, errors.New("credential_type must be public_key")
	case !slices.Contains(keyAlgorithms, alg):
		return registeredKey{}, errors.New("alg must be one of RS256, RS384, PS256")
	case o.KID != "" && !kidPattern.MatchString(o.KID):
		return registeredKey{}, errors.New("kid has the wrong format")
	case block == nil || block.Type != "PUBLIC KEY":
		return registeredKey{}, errors.New("pem is not a public key")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	key, isRSA := parsed.(*rsa.PublicKey)
	if err != nil || !isRSA || key.N.BitLen() < minKeyBits {
		return registeredKey{}, errors.New("pem is not an RSA public key of at least 2048 bits")
	}
	if o.KID == "" {
		print, err := (&jose.JSONWebKey{Key: key}).Thumbprint(crypto.SHA256)
		if err != nil {
			return registeredKey{}, err
		}
		o.KID = base64.RawURLEncoding.EncodeToString(print)
	}
	return registeredKey{
		ID: "cred_" + randomAlphanumerics(22), Name: o.Name, KID: o.KID, Alg: alg, Type: o.CredentialType, key: key,
	}, nil
}

// keyMethod is client_authentication_methods with these keys enabled.
func keyMethod(ids ...string) map[string]any {
	enabled := make([]any, len(ids))
	for i, id := range ids {
		enabled[i] = map[string]any{"id": id}
	}
	return map[string]any{"private_key_jwt": map[string]any{"credentials": enabled}}
}

// Keys gives the kids of an application's public keys: of all that are
// registered, and of those that it may log in with.
func (t *Tenant) Keys(clientID string) (registered, enabled []string) {
	t.withApplication(clientID, func(a *application) {
		for _, key := range a.keys {
			registered = append(registered, key.KID)
			if slices.Contains(a.enabledKeys(), key.ID) {
				enabled = append(enabled, key.KID)
			}
		}
	})
	return registered, enabled
}

// enabledKeys are the IDs of the keys that the application may use.
func (a *application) enabledKeys() []string {
	method, _ := a.AuthenticationMethods["private_key_jwt"].(map[string]any)
	list, _ := method["credentials"].([]any)
	var ids []string
	for _, each := range list {
		if object, ok := each.(map[string]any); ok {
			id, _ := object["id"].(string)
			ids = append(ids, id)
		}
	}
	return ids
}

// hasKeys says whether all keys that client_authentication_methods names are
// registered.
func (a *application) hasKeys(methods json.RawMessage) bool {
	wanted := application{}
	if json.Unmarshal(methods, &wanted.AuthenticationMethods) != nil {
		return false
	}
	for _, id := range wanted.enabledKeys() {
		if !slices.ContainsFunc(a.keys, func(key registeredKey) bool { return key.ID == id }) {
			return false
		}
	}
	return true
}

// verifies checks a client assertion. Each is good once. t.mu must be held.
func (a *application) verifies(assertion string, now time.Time, issuer string) bool {
	token, err := jwt.ParseSigned(assertion, keyAlgorithms)
	if err != nil {
		return false
	}
	for _, key := range a.keys {
		header := token.Headers[0]
		if !slices.Contains(a.enabledKeys(), key.ID) || header.Algorithm != string(key.Alg) || header.KeyID != "" && header.KeyID != key.KID {
			continue
		}
		var claims jwt.Claims
		if token.Claims(key.key, &claims) == nil && a.fresh(claims, now, issuer) {
			a.seen[claims.ID] = true
			return true
		}
	}
	return false
}

// fresh checks an assertion's claims, and that it was not seen before.
func (a *application) fresh(claims jwt.Claims, now time.Time, issuer string) bool {
	if a.seen == nil {
		a.seen = map[string]bool{}
	}
	audience := slices.Contains(claims.Audience, issuer) || slices.Contains(claims.Audience, issuer+"oauth/token")
	return claims.Issuer == a.ClientID && claims.Subject == a.ClientID && audience &&
		claims.ID != "" && !a.seen[claims.ID] &&
		claims.Expiry != nil && now.Before(claims.Expiry.Time()) && !claims.Expiry.Time().After(now.Add(maxAssertionLifetime)) &&
		(claims.IssuedAt == nil || !claims.IssuedAt.Time().After(now.Add(assertionSkew)))
}

// routeCredentials finds what handles a request below .../credentials.
func (t *Tenant) routeCredentials(c *call, rest []string) {
	c.pattern = apiPrefix + "clients/{id}/credentials"
	switch {
	case len(rest) == 0 && c.r.Method == http.MethodGet:
		c.handle = t.withToken(t.listCredentials)
	case len(rest) == 0 && c.r.Method == http.MethodPost:
		c.endpoint, c.handle = CreateCredential, t.withToken(t.createCredential)
	case len(rest) == 1 && c.r.Method == http.MethodDelete:
		c.pattern += "/{id}"
		c.endpoint = DeleteCredential
		c.handle = t.withToken(func(c *call, granted scopes) answer { return t.deleteCredential(c, granted, rest[0]) })
	}
}

// listCredentials handles GET .../credentials: an array.
func (t *Tenant) listCredentials(c *call, granted scopes) answer {
	if !granted.any("read:client_credentials") {
		return insufficientScope("read:client_credentials")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	app := t.apps[c.clientID]
	if app == nil {
		return noSuchClient()
	}
	return jsonAnswer(http.StatusOK, append([]registeredKey{}, app.keys...))
}

// createCredential handles POST .../credentials.
func (t *Tenant) createCredential(c *call, granted scopes) answer {
	if !granted.any("create:client_credentials") {
		return insufficientScope("create:client_credentials")
	}
	var order keyOrder
	if json.Unmarshal(c.body, &order) != nil {
		return invalidBody("'Expected type object' on the body.")
	}
	key, err := newRegisteredKey(order)
	if err != nil {
		return invalidBody(err.Error())
	}
	key.CreatedAt = t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	app := t.apps[c.clientID]
	switch {
	case app == nil:
		return noSuchClient()
	case len(app.keys) >= maxKeys:
		return apiError(http.StatusBadRequest, "too_many_entities", "The client has the maximum number of credentials: 2")
	case slices.ContainsFunc(app.keys, func(other registeredKey) bool { return other.KID == key.KID }):
		return apiError(http.StatusConflict, "credential_conflict", "There is already a credential with this kid")
	}
	app.keys = append(app.keys, key)
	return jsonAnswer(http.StatusCreated, key)
}

// deleteCredential handles DELETE .../credentials/{id}.
func (t *Tenant) deleteCredential(c *call, granted scopes, id string) answer {
	if !granted.any("delete:client_credentials") {
		return insufficientScope("delete:client_credentials")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	app := t.apps[c.clientID]
	if app == nil {
		return noSuchClient()
	}
	before := len(app.keys)
	app.keys = slices.DeleteFunc(app.keys, func(key registeredKey) bool { return key.ID == id })
	if len(app.keys) == before {
		return apiError(http.StatusNotFound, "inexistent_credential", "The credential does not exist")
	}
	left := slices.DeleteFunc(app.enabledKeys(), func(enabled string) bool { return enabled == id })
	app.AuthenticationMethods = keyMethod(left...)
	return answer{status: http.StatusNoContent, contentType: "application/json; charset=utf-8"}
}
