package tenant

import (
	"cmp"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
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
	minKeyBits           = 2048
)

var (
	keyAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.PS256}
	kidPattern    = regexp.MustCompile(`^[0-9a-zA-Z_-]{10,64}$`)
)

// keyOrder is what POST .../credentials is sent.
type keyOrder struct {
	Credential
	PEM string `json:"pem"`
}

// credential makes the credential that is ordered.
func (o keyOrder) credential(now time.Time) (Credential, error) {
	made := o.Credential
	made.ID, made.CreatedAt = "cred_"+randomAlphanumerics(22), now
	made.Alg = cmp.Or(made.Alg, jose.RS256)
	block, _ := pem.Decode([]byte(o.PEM))
	switch {
	case made.Type != "public_key":
		return Credential{}, errors.New("credential_type must be public_key")
	case !slices.Contains(keyAlgorithms, made.Alg):
		return Credential{}, errors.New("alg must be one of RS256, RS384, PS256")
	case made.KID != "" && !kidPattern.MatchString(made.KID):
		return Credential{}, errors.New("kid has the wrong format")
	case block == nil || block.Type != "PUBLIC KEY":
		return Credential{}, errors.New("pem is not a public key")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	key, isRSA := parsed.(*rsa.PublicKey)
	if err != nil || !isRSA || key.N.BitLen() < minKeyBits {
		return Credential{}, errors.New("pem is not an RSA public key of at least 2048 bits")
	}
	if made.KID == "" {
		print, err := (&jose.JSONWebKey{Key: key}).Thumbprint(crypto.SHA256)
		if err != nil {
			return Credential{}, err
		}
		made.KID = base64.RawURLEncoding.EncodeToString(print)
	}
	made.key = key
	return made, nil
}

// verifies checks a client assertion. Each is good once.
func (a *application) verifies(assertion string, now time.Time, issuer string) bool {
	token, err := jwt.ParseSigned(assertion, keyAlgorithms)
	if err != nil {
		return false
	}
	for _, key := range a.keys {
		header := token.Headers[0]
		if !slices.Contains(a.enabled(PrivateKeyJWT), key.ID) || header.Algorithm != string(key.Alg) || header.KeyID != "" && header.KeyID != key.KID {
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
