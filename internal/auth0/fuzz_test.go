package auth0

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

// FuzzAnswers: whatever the tenant's domain answers, nothing panics; only a whole
// error in Auth0's form, for its own status, is called a refusal; and no secret
// gets into an error.
func FuzzAnswers(f *testing.F) {
	f.Add(200, "application/json", `{"client_id":"app1234567890","client_secret":"x"}`, "")
	f.Add(403, "application/json", refusal(403, "insufficient_scope", "no"), "")
	f.Add(403, "text/html", `<html>`, "")
	f.Add(429, "", `{"statusCode":429,"error":"x"}`, "-1")
	f.Add(201, "", `[{"id":"a","kid":null}]`, "Thu, 01 Jan 1970 00:00:00 GMT")
	f.Add(400, "", `{"statusCode":4e2,"error":"s3cret-new"}`, "99999999999999999999")
	f.Add(302, "", `{"start":0,"total":-1,"clients":[null,{"client_id":5}]}`, "")
	f.Fuzz(func(t *testing.T, status int, contentType, body, retryAfter string) {
		if status < 200 || status > 599 || strings.ContainsAny(contentType+retryAfter, "\r\n\x00") || !utf8.ValidString(contentType+retryAfter) {
			t.Skip()
		}
		header := http.Header{"Content-Type": {contentType}, "Retry-After": {retryAfter}, "X-Ratelimit-Reset": {retryAfter}, "Date": {retryAfter}}
		hide := redactor{"s3cret-new", engineSecret}
		for _, op := range []string{OpToken, opGet, opSet} {
			a := answer{op: op, status: status, header: header, body: []byte(body)}
			e := judge(a, hide)
			if e == nil {
				assert.Equal(t, 2, status/100)
				continue
			}
			assert.NotContains(t, e.Error(), "s3cret-new")
			if e.Class == Refused {
				_, _, ok := a.parse()
				assert.True(t, ok && status/100 == 4 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout)
			}
			if e.Class == Limited {
				assert.GreaterOrEqual(t, e.RetryAfter, minRetryAfter)
				assert.LessOrEqual(t, e.RetryAfter, maxRetryAfter)
			}
		}
		if app, ok := decodeApplication([]byte(body)); ok {
			assert.NotNil(t, app)
		}
		_, _ = parseRateLimit(header, time.Now())
	})
}
