// Package assertion makes client assertions: the JWTs of RFC 7523 by which an
// application authenticates with a private key (private_key_jwt), and the keys for
// them.
//
//	signer, err := assertion.NewSigner(key, "RS256", kid)
//	text, err := signer.Sign(clientID, "https://example.eu.auth0.com/", time.Now(), time.Minute)
package assertion

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Type is the client_assertion_type of every assertion.
const Type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// MinKeyBits is the shortest key that Auth0 takes.
const MinKeyBits = 2048

// Algorithms are those that Auth0 knows for private_key_jwt, the usual one first.
var Algorithms = []string{string(jose.RS256), string(jose.RS384), string(jose.PS256)}

// NewPrivateKey makes an RSA key of so many bits, in PEM of PKCS #8.
func NewPrivateKey(bits int) (string, error) {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// ParsePrivateKey reads an RSA key of at least MinKeyBits, in PEM of PKCS #8 or
// PKCS #1. The error quotes nothing of it.
func ParsePrivateKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the private key is not in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	rsaKey, isRSA := key.(*rsa.PrivateKey)
	switch {
	case err != nil:
		return nil, errors.New(`the private key is neither a "PRIVATE KEY" (PKCS #8) nor an "RSA PRIVATE KEY" (PKCS #1), unencrypted`)
	case !isRSA:
		return nil, errors.New("the private key is not an RSA key")
	case rsaKey.N.BitLen() < MinKeyBits:
		return nil, fmt.Errorf("the private key is too short: Auth0 wants at least %d bits", MinKeyBits)
	}
	return rsaKey, nil
}

// PublicKey gives the public half of a private key: in PEM, and its kid, which
// is its thumbprint as in RFC 7638.
func PublicKey(privateKey string) (publicPEM, kid string, err error) {
	key, err := ParsePrivateKey(privateKey)
	if err != nil {
		return "", "", err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", "", err
	}
	kid, err = thumbprint(key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), kid, err
}

func thumbprint(key *rsa.PrivateKey) (string, error) {
	jwk := jose.JSONWebKey{Key: key.Public()}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum), err
}

// Signer makes assertions with one key. It is safe for concurrent use. No verb of fmt
// shows the key.
type Signer struct {
	kid    string
	signer *jose.Signer // behind a pointer, which fmt does not follow
}

// Format implements fmt.Formatter.
func (s Signer) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "assertion.Signer{%q}", s.kid) }

// NewSigner makes a signer of a key in PEM, for one of Algorithms. kid is what the
// assertions name as their key; "": none, so that Auth0 tries each key of the
// application. The error quotes nothing of the key.
func NewSigner(privateKey, algorithm, kid string) (*Signer, error) {
	return newSigner(privateKey, algorithm, func(*rsa.PrivateKey) (string, error) { return kid, nil })
}

// NewOwnSigner is NewSigner of a key whose kid is its thumbprint, as PublicKey gives it.
func NewOwnSigner(privateKey, algorithm string) (*Signer, error) {
	return newSigner(privateKey, algorithm, thumbprint)
}

func newSigner(privateKey, algorithm string, kidOf func(*rsa.PrivateKey) (string, error)) (*Signer, error) {
	if !slices.Contains(Algorithms, algorithm) {
		return nil, errors.New("the signing algorithm must be one of " + strings.Join(Algorithms, ", "))
	}
	key, err := ParsePrivateKey(privateKey)
	if err != nil {
		return nil, err
	}
	kid, err := kidOf(key)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.SignatureAlgorithm(algorithm), Key: jose.JSONWebKey{Key: key, KeyID: kid}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, errors.New("the private key cannot sign")
	}
	return &Signer{kid: kid, signer: &signer}, nil
}

// KID is the kid that the assertions name, "" if none.
func (s *Signer) KID() string { return s.kid }

// Sign makes an assertion of an application, for the audience https://<domain>/. It is
// good for one request, and for a lifetime from now; Auth0 allows 5 minutes.
func (s *Signer) Sign(clientID, audience string, now time.Time, lifetime time.Duration) (string, error) {
	return jwt.Signed(*s.signer).Claims(struct {
		Issuer   string           `json:"iss"`
		Subject  string           `json:"sub"`
		Audience string           `json:"aud"`
		ID       string           `json:"jti"`
		IssuedAt *jwt.NumericDate `json:"iat"`
		Expiry   *jwt.NumericDate `json:"exp"`
	}{clientID, clientID, audience, rand.Text(), jwt.NewNumericDate(now), jwt.NewNumericDate(now.Add(lifetime))}).Serialize()
}
