package assertion

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSigner(t *testing.T) {
	key, err := NewPrivateKey(MinKeyBits)
	require.NoError(t, err)
	_, kid, err := PublicKey(key)
	require.NoError(t, err)
	parsed, err := ParsePrivateKey(key)
	require.NoError(t, err)
	now := time.Now().Truncate(time.Second)
	for _, algorithm := range Algorithms {
		t.Run(algorithm, func(t *testing.T) {
			signer, err := NewSigner(key, algorithm, kid)
			require.NoError(t, err)
			assert.Equal(t, kid, signer.KID())
			assert.NotContains(t, fmt.Sprintf("%v %+v %#v", signer, *signer, *signer), "PRIVATE")
			first, err := signer.Sign("app", "https://example.com/", now, time.Minute)
			require.NoError(t, err)
			second, err := signer.Sign("app", "https://example.com/", now, time.Minute)
			require.NoError(t, err)
			assert.NotEqual(t, first, second)

			token, err := jwt.ParseSigned(first, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
			require.NoError(t, err)
			assert.Equal(t, kid, token.Headers[0].KeyID)
			var claims jwt.Claims
			require.NoError(t, token.Claims(parsed.Public(), &claims))
			assert.Equal(t, "app", claims.Issuer)
			assert.Equal(t, "app", claims.Subject)
			assert.Equal(t, jwt.Audience{"https://example.com/"}, claims.Audience)
			assert.NotEmpty(t, claims.ID)
			assert.Equal(t, now, claims.IssuedAt.Time())
			assert.Equal(t, now.Add(time.Minute), claims.Expiry.Time())
		})
	}
}

func TestSignerWithoutKID(t *testing.T) {
	key, err := NewPrivateKey(3072)
	require.NoError(t, err)
	signer, err := NewSigner(key, "PS256", "")
	require.NoError(t, err)
	text, err := signer.Sign("app", "https://example.com/", time.Now(), time.Minute)
	require.NoError(t, err)
	token, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.PS256})
	require.NoError(t, err)
	assert.Empty(t, token.Headers[0].KeyID)
}

func TestUnusableKeys(t *testing.T) {
	_, err := NewSigner("not a key", "RS256", "")
	require.ErrorContains(t, err, "not in PEM")
	_, err = NewSigner("not a key", "HS256", "")
	require.ErrorContains(t, err, "RS256, RS384, PS256")
	_, _, err = PublicKey("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	require.ErrorContains(t, err, "PKCS #8")
	assert.NotContains(t, err.Error(), "AAAA")
}
