package tenant

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
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

// signingKey is the tenant's own key. It takes long to make, and few need it.
type signingKey struct {
	once sync.Once
	key  jose.JSONWebKey
}

func (s *signingKey) get() jose.JSONWebKey {
	s.once.Do(func() {
		key, err := rsa.GenerateKey(rand.Reader, minKeyBits)
		if err != nil {
			panic("simulated tenant: " + err.Error())
		}
		s.key = jose.JSONWebKey{Key: key, KeyID: randomAlphanumerics(21), Algorithm: string(jose.RS256), Use: "sig"}
	})
	return s.key
}

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
	if app.Alg == string(jose.HS256) || app.Alg == "" {
		return signedWithSecret(claims, app.ClientSecret)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: t.signing.get()}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		panic("simulated tenant: " + err.Error())
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		panic("simulated tenant: " + err.Error())
	}
	return token
}

// signedWithSecret makes a JWT with HS256. go-jose refuses keys of less than 32
// bytes; Auth0 takes shorter secrets.
func signedWithSecret(claims map[string]any, secret string) string {
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(jsonAnswer(http.StatusOK, claims).body)
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(token)) // never fails
	return token + "." + encode(mac.Sum(nil))
}

// publicKeys handles GET /.well-known/jwks.json.
func (t *Tenant) publicKeys(*call) answer {
	key := t.signing.get()
	return jsonAnswer(http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
}

// discovery handles GET /.well-known/openid-configuration, in the form of
// Auth0's, with what there is here.
func (t *Tenant) discovery(*call) answer {
	base := t.issuer()
	return jsonAnswer(http.StatusOK, map[string]any{
		"issuer":                                base,
		"authorization_endpoint":                base + "authorize",
		"token_endpoint":                        base + "oauth/token",
		"userinfo_endpoint":                     base + "userinfo",
		"jwks_uri":                              base + ".well-known/jwks.json",
		"scopes_supported":                      []string{"openid", "profile", "offline_access", "email"},
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query", "form_post"},
		"code_challenge_methods_supported":      []string{"S256"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"HS256", "RS256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post", "private_key_jwt"},
		"claims_supported": []string{
			"aud", "email", "email_verified", "exp", "iat", "iss", "name", "nickname", "sub",
		},
		"request_parameter_supported":     false,
		"request_uri_parameter_supported": false,
	})
}
