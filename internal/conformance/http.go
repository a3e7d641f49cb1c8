package conformance

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/go-retryablehttp"
)

const (
	requestTimeout = 30 * time.Second
	maxBody        = 1 << 20 // bytes
	maxShown       = 160     // characters of what Auth0 says

	limitedTries = 5 // of a request that the rate limit turns away
	longestWait  = 20 * time.Second
)

const (
	headerLimit     = "X-RateLimit-Limit"
	headerRemaining = "X-RateLimit-Remaining"
	headerReset     = "X-RateLimit-Reset"
)

func newHTTPClient(caCert string) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caCert != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(caCert)) {
			return nil, errors.New("there is no certificate in PEM in what should be that of a CA")
		}
	}
	return &http.Client{
		Timeout:   requestTimeout,
		Transport: &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true},
		// A redirect would carry credentials to somewhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// retrying sends a request again if the rate limit has turned it away, and only
// then.
func (r *Run) retrying() *retryablehttp.Client {
	client := retryablehttp.NewClient()
	client.HTTPClient, client.Logger, client.RetryMax = r.http, nil, limitedTries-1
	client.ErrorHandler = retryablehttp.PassthroughErrorHandler
	client.CheckRetry = func(ctx context.Context, response *http.Response, err error) (bool, error) {
		if err != nil || response.StatusCode != http.StatusTooManyRequests {
			return false, err
		}
		r.limited++
		return true, ctx.Err()
	}
	client.Backoff = func(_, _ time.Duration, _ int, response *http.Response) time.Duration {
		return waitFor(response.Header)
	}
	return client
}

// waitFor is how long to wait by an answer's headers.
func waitFor(header http.Header) time.Duration {
	wait := time.Second
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if reset, err := strconv.ParseInt(header.Get(headerReset), 10, 64); err == nil {
		wait = time.Until(time.Unix(reset, 0))
	}
	return min(max(wait, time.Second), longestWait)
}

// answer is what the tenant has answered.
type answer struct {
	status int
	header http.Header
	object map[string]any   // the body, if it is an object
	list   []map[string]any // the body, if it is a list of objects
}

// text is a member of the body, "" if it is none or no text.
func (a answer) text(name string) string { s, _ := a.object[name].(string); return s }

func (a answer) has(name string) bool { _, ok := a.object[name]; return ok }

// members are those of these that the body has; of none, all that it has.
func (a answer) members(names ...string) string {
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(a.object))
	}
	return strings.Join(slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !a.has(name) }), ", ")
}

// shown is a header, without what could move a terminal's cursor or break a table.
func (a answer) shown(name string) string { return printable(a.header.Get(name)) }

// String shows status, code and message. It may hold what Run.clean takes out.
func (a answer) String() string {
	code := cmp.Or(a.text("errorCode"), a.text("error"))
	message := cmp.Or(a.text("message"), a.text("error_description"))
	code, message = printable(code), printable(message)
	if chars := []rune(message); len(chars) > maxShown {
		message = string(chars[:maxShown]) + "…"
	}
	shown := strings.TrimSpace(strconv.Itoa(a.status) + " " + code)
	if message != "" {
		shown += ": " + strings.TrimSuffix(message, ".")
	}
	return shown
}

// isError says whether it is an error of the Management API in its usual form, with
// this code; "": any or none:
//
//	{"statusCode":403,"error":"Forbidden","message":"...","errorCode":"..."}
func (a answer) isError(status int, code string) bool {
	told, _ := a.object["statusCode"].(float64)
	return a.status == status && int(told) == status && a.text("error") != "" && a.text("message") != "" &&
		(code == "" || a.text("errorCode") == code)
}

// isOAuthError says whether it is an error of the token endpoint, with this code;
// "": any:
//
//	{"error":"access_denied","error_description":"Unauthorized"}
func (a answer) isOAuthError(status int, code string) bool {
	return a.status == status && a.text("error") != "" && a.text("error_description") != "" && (code == "" || a.text("error") == code)
}

// resetAhead is how far X-RateLimit-Reset is ahead of the answer's Date.
func (a answer) resetAhead() (time.Duration, bool) {
	reset, err := strconv.ParseInt(a.header.Get(headerReset), 10, 64)
	date, dateErr := http.ParseTime(a.header.Get("Date"))
	if err != nil || dateErr != nil {
		return 0, false
	}
	return time.Unix(reset, 0).Sub(date), true
}

// printable keeps what a table can show. auth0.Printable would keep more: all kinds of spaces.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return -1
	}, text)
}

// api calls the Management API with the run's own token. path is below /api/v2/.
func (t *trial) api(method, path string, in any) answer { return t.apiAs(t.token, method, path, in) }

// apiAs calls the Management API, at its pace: not faster than Pace, and not before
// the time that it has told when little was left.
func (t *trial) apiAs(token, method, path string, in any) answer {
	var body []byte
	if in != nil {
		var err error
		body, err = json.Marshal(in)
		t.fail(err)
	}
	t.sleep(time.Until(t.notBefore))
	got := t.send(method, "/api/v2/"+path, body, http.Header{
		"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"},
	})
	t.notBefore = time.Now().Add(t.tenant.Pace)
	if left, err := strconv.Atoi(got.header.Get(headerRemaining)); err == nil && left <= 1 {
		t.notBefore = time.Now().Add(waitFor(got.header))
	}
	return got
}

// passwords is the form by which an application logs in for an audience.
func passwords(app Application, audience string) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "audience": {audience},
		"client_id": {app.ClientID}, "client_secret": {app.ClientSecret},
	}
}

// logIn asks for a token for the Management API by a client secret in the body.
func (t *trial) logIn(app Application) answer { return t.ask(passwords(app, t.tenant.Audience), nil) }

// ask sends a form to the token endpoint.
func (t *trial) ask(form url.Values, header http.Header) answer {
	all := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	maps.Copy(all, header)
	return t.send(http.MethodPost, "/oauth/token", []byte(form.Encode()), all)
}

// send sends a request. What is secret in the answer is hidden from then on.
func (t *trial) send(method, path string, body []byte, header http.Header) (got answer) {
	if t.err != nil {
		return answer{}
	}
	request, err := retryablehttp.NewRequestWithContext(t.ctx, method, "https://"+t.tenant.Domain+path, bytes.NewReader(body))
	if err != nil {
		t.err = errors.New("the request cannot be made")
		return answer{}
	}
	request.Header = header
	request.Header.Set("User-Agent", "vault-plugin-secrets-auth0 conformance")
	response, err := t.retrying().Do(request)
	if err != nil {
		if cause := new(url.Error); errors.As(err, &cause) { // it has the address
			err = cause.Err
		}
		t.err = fmt.Errorf("no answer: %w", err)
		return answer{}
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		t.err = fmt.Errorf("the answer could not be read: %w", err)
	}
	got.status, got.header = response.StatusCode, response.Header
	if json.Unmarshal(text, &got.object) != nil {
		_ = json.Unmarshal(text, &got.list) // or it is something else yet
	}
	t.hide(got.text("client_secret"), "[secret]")
	t.hide(got.text("access_token"), "[token]")
	return got
}

// scopesOf are those of a token: what its answer says or, if that says nothing,
// what the token itself does; nil if neither does.
func scopesOf(got answer) []string {
	if got.has("scope") {
		return append([]string{}, strings.Fields(got.text("scope"))...)
	}
	var claims struct {
		Scope *string `json:"scope"`
	}
	token, err := jwt.ParseSigned(got.text("access_token"), []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.HS256})
	if err != nil || token.UnsafeClaimsWithoutVerification(&claims) != nil || claims.Scope == nil {
		return nil
	}
	return append([]string{}, strings.Fields(*claims.Scope)...)
}
