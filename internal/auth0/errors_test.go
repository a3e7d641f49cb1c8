package auth0

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestErrorText(t *testing.T) {
	tests := map[string]*Error{
		"set secret: Auth0 refused (403 insufficient_scope): no":                {Class: Refused, Op: opSet, Status: 403, Code: "insufficient_scope", Message: "no"},
		"set secret: Auth0 refused (403)":                                       {Class: Refused, Op: opSet, Status: 403},
		"get application: not sent: not a client ID":                            {Class: Refused, Op: opGet, Message: "not a client ID"},
		"get application: no clear answer from Auth0: 100%d":                    {Op: opGet, Message: "100%d"},
		"rotate secret: no clear answer from Auth0 (502)":                       {Op: opRotate, Status: 502},
		"token: Auth0 limits the rate (429), retry in 12s":                      {Class: Limited, Op: OpToken, Status: 429, Code: "x", Message: "m", RetryAfter: 11*time.Second + 1},
		"rotate secret: Auth0 limits the rate, retry in 1m1s":                   {Class: Limited, Op: opRotate, RetryAfter: 61 * time.Second},
		"get application: no clear answer from Auth0: the request was given up": noAnswer(opGet, &url.Error{Op: "Get", URL: "https://t/?secret", Err: context.Canceled}),
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

func TestTextsOfAuth0AreMadePlain(t *testing.T) {
	tests := map[string]string{
		"plain, é and 日本":                      "plain, é and 日本",
		"\x1b[31mred\x1b[0m\x07\r\n\t\u0085":   "[31mred[0m",
		"a\u200bb\u202ec\u2028d\u2029e\ufefff": "abcdef",
		"bad \xff utf8 \ufffd":                 "bad  utf8 ",
		strings.Repeat("é", maxText):           strings.Repeat("é", maxText),
		strings.Repeat("é", maxText+1):         strings.Repeat("é", maxText-1) + "…",
		strings.Repeat("\x1b", 999) + "x":      "x",
	}
	for text, want := range tests {
		assert.Equal(t, want, plain(text))
	}
}
