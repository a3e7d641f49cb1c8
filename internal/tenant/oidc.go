package tenant

import (
	"crypto/rand"
	"crypto/rsa"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	idTokenLifetime = 10 * time.Hour // Auth0's default
	userID          = "auth0|0123456789abcdef01234567"
)

// userClaims are what those scopes let an application know of the one user that
// there is.
func userClaims(granted []string) map[string]any {
	claims := map[string]any{"sub": userID}
	if slices.Contains(granted, "profile") {
		maps.Copy(claims, map[string]any{"name": "Robin Example", "nickname": "robin"})
	}
	if slices.Contains(granted, "email") {
		maps.Copy(claims, map[string]any{"email": "robin@example.com", "email_verified": true})
	}
	return claims
}

// signing gives the key that tokens are signed with. It takes long to make, so all
// tenants of a process have the same: their issuers tell them apart.
var signing = sync.OnceValue(func() jose.JSONWebKey {
	key, err := rsa.GenerateKey(rand.Reader, minKeyBits)
	if err != nil {
		panic("simulated tenant: " + err.Error())
	}
	return jose.JSONWebKey{Key: key, KeyID: randomAlphanumerics(21), Algorithm: string(jose.RS256), Use: "sig"}
})

// idToken makes an ID token, signed as the application's Alg says: RS256 with
// the tenant's key, or HS256, also if it says nothing, with the secret that is
// set.
func (t *Tenant) idToken(app Application, granted session) string {
	now := t.now()
	claims := userClaims(granted.scopes)
	claims["iss"], claims["aud"] = t.issuer(), app.ClientID
	claims["iat"], claims["exp"] = jwt.NewNumericDate(now), jwt.NewNumericDate(now.Add(idTokenLifetime))
	if granted.nonce != "" {
		claims["nonce"] = granted.nonce
	}
	key := jose.SigningKey{Algorithm: jose.HS256}
	if app.Alg == string(jose.HS256) || app.Alg == "" {
		// go-jose refuses keys of less than 32 bytes; Auth0 takes shorter secrets. HMAC
		// itself fills them up with zeros.
		key.Key = append([]byte(app.ClientSecret), make([]byte, max(0, 32-len(app.ClientSecret)))...)
	} else {
		key.Algorithm, key.Key = jose.RS256, signing()
	}
	return signed(key, claims)
}

// signed makes a JWT.
func signed(key jose.SigningKey, claims map[string]any) string {
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		panic("simulated tenant: " + err.Error())
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		panic("simulated tenant: " + err.Error())
	}
	return token
}

// publicKeys handles GET /.well-known/jwks.json.
func (t *Tenant) publicKeys(*call) (any, error) {
	key := signing()
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}}, nil
}

// discovery handles GET /.well-known/openid-configuration, in the form of
// Auth0's, with what there is here.
func (t *Tenant) discovery(*call) (any, error) {
	base := t.issuer()
	return map[string]any{
		"issuer":                                base,
		"authorization_endpoint":                base + "authorize",
		"token_endpoint":                        base + "oauth/token",
		"revocation_endpoint":                   base + "oauth/revoke",
		"pushed_authorization_request_endpoint": base + "oauth/par",
		"backchannel_authentication_endpoint":   base + "bc-authorize",
		"userinfo_endpoint":                     base + "userinfo",
		"jwks_uri":                              base + ".well-known/jwks.json",
		"scopes_supported":                      []string{"openid", "profile", "offline_access", "email"},
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query", "form_post"},
		"code_challenge_methods_supported":      []string{"S256"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"HS256", "RS256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post", "private_key_jwt"},
	}, nil
}
