package auth0

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestErrorText(t *testing.T) {
	tests := map[string]*Error{
		"set secret: Auth0 refused (403 insufficient_scope): no":        {Class: Refused, Op: opSet, Status: 403, Code: "insufficient_scope", Message: "no"},
		"set secret: Auth0 refused (403)":                               {Class: Refused, Op: opSet, Status: 403},
		"get application: not sent: not a client ID":                    {Class: Refused, Op: opGet, Message: "not a client ID"},
		"get application: no clear answer from Auth0: 100%d":            {Op: opGet, Message: "100%d"},
		"rotate secret: no clear answer from Auth0 (502)":               {Op: opRotate, Status: 502},
		"token: Auth0 limits the rate (429), retry in 12s":              {Class: Limited, Op: OpToken, Status: 429, Code: "x", Message: "m", RetryAfter: 11*time.Second + 1},
		"rotate secret: Auth0 limits the rate, retry in 1m1s":           {Class: Limited, Op: opRotate, RetryAfter: 61 * time.Second},
		"get application: no clear answer from Auth0: context canceled": noAnswer(opGet, &url.Error{Op: "Get", URL: "https://t/?secret", Err: context.Canceled}, nil),
	}
	for want, err := range tests {
		assert.EqualError(t, err, want)
	}
}

func TestClassOf(t *testing.T) {
	refused := fmt.Errorf("role: %w", &Error{Class: Refused})
	assert.Equal(t, Refused, ClassOf(refused))
	assert.Equal(t, Limited, ClassOf(errors.Join(errors.New("x"), &Error{Class: Limited})))
	assert.Equal(t, Ambiguous, ClassOf(errors.New("x")))
	assert.Equal(t, Ambiguous, ClassOf(&Error{}))
	assert.Equal(t, Ambiguous, ClassOf(nil))
	assert.Equal(t, "ambiguous refused limited", fmt.Sprint(Ambiguous, Refused, Limited))
}

func TestMessagesAreCleaned(t *testing.T) {
	hide := redactor{"s3cr&t %d", "", "tok\nen"}
	tests := map[string]string{
		"plain":                                   "plain",
		"bad s3cr&t %d.":                          "bad [redacted].",
		"bad s3cr%26t+%25d.":                      "bad [redacted].",
		"bad s3cr&t%20%25d.":                      "bad [redacted].",
		"a s3c\x00r&t %d b":                       "a [redacted] b",
		"a s3c\u200br&t %d b":                     "a [redacted] b",
		"tok\nen tok\r\nen token":                 "[redacted] [redacted] [redacted]",
		"\x1b[31mred\x1b[0m\x07\n":                "[31mred[0m",
		"bad \xff utf8":                           "bad  utf8",
		"proxy http://u:p@host:1":                 "proxy http://[redacted]@host:1",
		strings.Repeat("é", 200):                  strings.Repeat("é", 200),
		strings.Repeat("é", 201):                  strings.Repeat("é", 199) + "…",
		strings.Repeat("x", 190) + "s3cr&t %d":    strings.Repeat("x", 190) + redacted,
		strings.Repeat("x", 195) + "s3cr&t %d yy": strings.Repeat("x", 195) + "[red…",
	}
	for text, want := range tests {
		assert.Equal(t, want, hide.clean(text))
	}
}

func TestUpstreamTextHoldsNoSecret(t *testing.T) {
	tn := newTenant(t, replies(400, refusal(400, "s3cret-new", "secret s3cret-new of "+engineSecret+" by token-1\n%s")))
	for op, err := range eachCall(t.Context(), tn.client(t)) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			text := fmt.Sprintf(verb, err)
			assert.NotContains(t, text, "token-1", op)
			assert.NotContains(t, text, engineSecret, op)
			if op == opSet {
				assert.NotContains(t, text, "s3cret-new", op)
			}
		}
	}
}

// TestASecretThatIsQuotedAsJSONIsHidden: a validation error that quotes what was sent,
// in a message that is JSON itself.
func TestASecretThatIsQuotedAsJSONIsHidden(t *testing.T) {
	const tail = "7RtY4wZpLw9sD3fG6hJ1kL5z"
	for _, between := range []string{`"`, "<", `\`, "&", "\t", "\u2028"} {
		secret := "Kx8vN2mQ" + between + tail
		payload, err := json.Marshal(map[string]string{"client_secret": secret})
		require.NoError(t, err)
		for _, quoted := range []string{string(payload), strconv.Quote(string(payload)), inJSON(secret, false)} {
			body, err := json.Marshal(map[string]any{
				"statusCode": 400, "error": "Bad Request", "errorCode": "invalid_body",
				"message": "Payload validation error: " + quoted + " is not valid",
			})
			require.NoError(t, err)
			assert.NotContains(t, judge(answer{op: opSet, status: 400, body: body}, redactor{secret}).Error(), tail, quoted)
		}
	}
}
