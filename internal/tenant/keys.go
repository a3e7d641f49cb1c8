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

// KeyChange is what an application has used for private_key_jwt from a time on.
type KeyChange struct {
	At   time.Time
	KIDs []string // of the keys, sorted
}

// keyChange is a KeyChange and how it propagates.
type keyChange struct {
	KeyChange
	Propagation
	keys []Credential
}

func (c keyChange) takesOver(node uint64) (acceptedFrom, othersUntil time.Time) {
	return c.Propagation.takesOver(c.At, node)
}

// noteKeys notes which keys the application uses, if that has changed.
func (a *application) noteKeys(now time.Time, p Propagation) {
	enabled := a.enabled(PrivateKeyJWT)
	used := keyChange{KeyChange{At: now}, p, nil}
	for _, key := range a.keys {
		if slices.Contains(enabled, key.ID) {
			used.keys = append(used.keys, key)
			used.KIDs = append(used.KIDs, key.KID)
		}
	}
	slices.Sort(used.KIDs)
	var before []string
	if n := len(a.keysUsed); n > 0 {
		before = a.keysUsed[n-1].KIDs
	}
	switch {
	case slices.Equal(used.KIDs, before):
		return
	case len(before) == 0: // there is nothing that could be accepted in their place
		used.Propagation = Propagation{}
	}
	a.keysUsed = append(a.keysUsed, used)
}

// KeyHistory gives what an application has used for private_key_jwt since it was added,
// in order.
func (t *Tenant) KeyHistory(clientID string) (history []KeyChange) {
	t.withApplication(clientID, func(a *application) {
		for _, c := range a.keysUsed {
			history = append(history, c.KeyChange)
		}
	})
	return history
}

// verifies checks a client assertion at a node. Each is good once.
func (a *application) verifies(assertion string, node uint64, now time.Time, issuer string) bool {
	token, err := jwt.ParseSigned(assertion, keyAlgorithms)
	if err != nil {
		return false
	}
	header := token.Headers[0]
	for _, used := range inForce(a.keysUsed, node, now) {
		for _, key := range used.keys {
			if header.Algorithm != string(key.Alg) || header.KeyID != "" && header.KeyID != key.KID {
				continue
			}
			var claims jwt.Claims
			if token.Claims(key.key, &claims) == nil && a.fresh(claims, now, issuer) {
				keep(a.seen, claims.ID, true)
				return true
			}
		}
	}
	return false
}

// readAssertion says, of what need not be true, whose assertion it is, and by which key.
func readAssertion(assertion string) (clientID, kid string) {
	token, err := jwt.ParseSigned(assertion, keyAlgorithms)
	if err != nil {
		return "", ""
	}
	var claims jwt.Claims
	_ = token.UnsafeClaimsWithoutVerification(&claims)
	return claims.Subject, token.Headers[0].KeyID
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
