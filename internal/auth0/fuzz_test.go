package auth0

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// texts are all that an error's Message can be, by the source: the constants of
// reasons.go, and what is given to notSent and unreadable.
func texts(t testing.TB) []string {
	t.Helper()
	var found []string
	literal := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == gotoken.STRING {
			text, err := strconv.Unquote(lit.Value)
			require.NoError(t, err)
			found = append(found, text)
		}
	}
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(gotoken.NewFileSet(), file.Name(), nil, 0)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if strings.HasPrefix(strings.ToLower(n.Names[0].Name), "reason") {
					literal(n.Values[0])
				}
			case *ast.CallExpr:
				if name, ok := n.Fun.(*ast.Ident); ok && slices.Contains([]string{"notSent", "unreadable"}, name.Name) {
					literal(n.Args[len(n.Args)-1])
				}
			}
			return true
		})
	}
	require.Greater(t, len(found), 40)
	require.Contains(t, found, reasonScope)
	for _, e := range endpoints {
		found = append(found, e.lacking())
	}
	return found
}

// isOurs fails the test unless all of e's text is ours.
func isOurs(t testing.TB, known []string, e *Error) {
	t.Helper()
	if e.Code != "" {
		assert.Contains(t, knownCodes, e.Code)
	}
	for _, begin := range []string{reasonNoConnect, reasonNoProxy} {
		if errno, ok := e.cause.(syscall.Errno); ok && e.Message == begin+errno.Error() { //nolint:errorlint // bare, or not at all
			return
		}
	}
	if e.Message != "" {
		assert.Contains(t, known, e.Message)
	}
}

// FuzzAnswers: whatever the tenant's domain answers, nothing panics; only a whole
// error in Auth0's form, for its own status, is called a refusal; no text of it gets
// into an error; and what is shown of an application is fit for that.
func FuzzAnswers(f *testing.F) {
	known := texts(f)
	f.Add(200, "application/json", `{"client_id":"app1234567890","client_secret":"x","name":"\u001b[31m"}`, "")
	f.Add(403, "application/json", refusal(403, "insufficient_scope", "no"), "")
	f.Add(403, "text/html", `<html>`, "")
	f.Add(403, "", refusal(403, "s3cret-new", "You cannot read the following fields: client_secret, s3cret-new"), "https://s3cret-new/")
	f.Add(403, "", `{"error":"s3cret-new","error_description":"Service not found: s3cret-new"}`, "")
	f.Add(429, "", `{"statusCode":429,"error":"x"}`, "-1")
	f.Add(201, "", `[{"id":"a","kid":null}]`, "Thu, 01 Jan 1970 00:00:00 GMT")
	f.Add(400, "", `{"statusCode":4e2,"error":"s3cret-new"}`, "99999999999999999999")
	f.Add(429, "", ``, "Fri, 31 Dec 9999 23:59:59 GMT")
	f.Add(302, "", `{"start":0,"total":-1,"clients":[null,{"client_id":5}]}`, "")
	f.Fuzz(func(t *testing.T, status int, contentType, body, header string) {
		if status < 200 || status > 999 || strings.ContainsAny(contentType+header, "\r\n\x00") || !utf8.ValidString(contentType+header) {
			t.Skip()
		}
		headers := http.Header{"Content-Type": {contentType}}
		for _, name := range []string{"Retry-After", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "Date", "Location", "Www-Authenticate"} {
			headers.Set(name, header)
		}
		for _, op := range []string{OpToken, opTryKey, opGet, opSet, opEnableKey} {
			a := answer{op: op, status: status, header: headers, body: []byte(body)}
			e := judge(a)
			if e == nil {
				assert.Equal(t, 2, status/100)
				continue
			}
			isOurs(t, known, e)
			assert.NoError(t, e.cause)
			assert.Subset(t, applicationFields, e.fields)
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
			for _, text := range []string{app.Name, app.AppType} {
				assert.LessOrEqual(t, utf8.RuneCountInString(text), maxText)
				assert.False(t, strings.ContainsFunc(text, func(c rune) bool { return unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }))
			}
		}
		for _, scope := range scopesIn(body) {
			assert.Regexp(t, scopePattern, scope)
		}
		_, _ = parseRateLimit(headers, time.Now())
	})
}
