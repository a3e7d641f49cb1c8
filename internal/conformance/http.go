package conformance

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	requestTimeout = 30 * time.Second
	maxBody        = 1 << 20 // bytes
	maxShown       = 160     // characters of what Auth0 says

	limitedTries = 5 // of a request that the rate limit turns away
	longestWait  = 20 * time.Second
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

// members are those of these that the body has.
func (a answer) members(names ...string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !a.has(name) })
}

// String shows status, code and message. It may hold what Run.clean takes out.
func (a answer) String() string {
	code, message := a.text("errorCode"), a.text("message")
	if code == "" {
		code = a.text("error")
	}
	if message == "" {
		message = a.text("error_description")
	}
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

// isError says whether it is an error of the Management API in its usual form:
//
//	{"statusCode":403,"error":"Forbidden","message":"...","errorCode":"..."}
func (a answer) isError(status int) bool {
	code, _ := a.object["statusCode"].(float64)
	return a.status == status && int(code) == status && a.text("error") != "" && a.text("message") != ""
}

// isOAuthError says whether it is an error of the token endpoint:
//
//	{"error":"access_denied","error_description":"Unauthorized"}
func (a answer) isOAuthError(status int, code string) bool {
	return a.status == status && a.text("error") == code && a.text("error_description") != ""
}

// api calls the Management API with the run's own token. path is below /api/v2/.
func (r *Run) api(ctx context.Context, method, path string, in any) (answer, error) {
	return r.apiAs(ctx, r.token, method, path, in)
}

// apiAs calls the Management API, again if the rate limit has turned the call away.
func (r *Run) apiAs(ctx context.Context, token, method, path string, in any) (answer, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return answer{}, err
		}
	}
	limit := r.limit(method, path)
	for try := 1; ; try++ {
		if err := sleep(ctx, max(time.Until(r.last.Add(r.tenant.Pace)), time.Until(limit.notBefore))); err != nil {
			return answer{}, err
		}
		got, err := r.send(ctx, method, "/api/v2/"+path, body, http.Header{
			"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"},
		})
		r.last = time.Now()
		if err != nil {
			return answer{}, err
		}
		limit.learn(got, r.last)
		if got.status != http.StatusTooManyRequests || try == limitedTries {
			return got, nil
		}
	}
}

// logIn asks for a token for the Management API by a client secret in the body.
func (r *Run) logIn(ctx context.Context, app Application) (answer, error) {
	return r.ask(ctx, url.Values{
		"grant_type": {"client_credentials"}, "audience": {r.tenant.Audience},
		"client_id": {app.ClientID}, "client_secret": {app.ClientSecret},
	}, nil)
}

// ask sends a form to the token endpoint, again if the rate limit turns it away.
func (r *Run) ask(ctx context.Context, form url.Values, header http.Header) (answer, error) {
	all := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	for name, values := range header {
		all[name] = values
	}
	for try := 1; ; try++ {
		got, err := r.send(ctx, http.MethodPost, "/oauth/token", []byte(form.Encode()), all)
		if err != nil || got.status != http.StatusTooManyRequests || try == limitedTries {
			return got, err
		}
		if err := sleep(ctx, waitFor(got, time.Now())); err != nil {
			return answer{}, err
		}
	}
}

// send sends a request once. What is secret in the answer is hidden from then on.
func (r *Run) send(ctx context.Context, method, path string, body []byte, header http.Header) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, "https://"+r.tenant.Domain+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, errors.New("the request cannot be made")
	}
	request.Header = header
	request.Header.Set("User-Agent", "vault-plugin-secrets-auth0 conformance")
	response, err := r.http.Do(request)
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil { // url.Error has the address
			err = cause
		}
		return answer{}, fmt.Errorf("no answer: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return answer{}, fmt.Errorf("the answer could not be read: %w", err)
	}
	got := answer{status: response.StatusCode, header: response.Header}
	if json.Unmarshal(text, &got.object) != nil {
		_ = json.Unmarshal(text, &got.list) // or it is something else yet
	}
	r.hide(got.text("client_secret"), "[secret]")
	r.hide(got.text("access_token"), "[token]")
	return got, nil
}

// scopesOf are those of a token: what its answer says or, if that says nothing,
// what the token itself does; nil if neither does.
func scopesOf(got answer) []string {
	if got.has("scope") {
		return append([]string{}, strings.Fields(got.text("scope"))...)
	}
	parts := strings.Split(got.text("access_token"), ".")
	if len(parts) != 3 {
		return nil
	}
	var claims struct {
		Scope *string `json:"scope"`
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &claims) != nil || claims.Scope == nil {
		return nil
	}
	return append([]string{}, strings.Fields(*claims.Scope)...)
}

// Limit is what the answers of an endpoint said of the rate limit.
type Limit struct {
	Endpoint string // such as GET /api/v2/clients/{id}
	Requests int
	Limited  int           // how many were turned away: 429
	Limit    string        // X-RateLimit-Limit, the last one; "": none was sent
	Least    int           // the least X-RateLimit-Remaining; -1: none was sent
	Reset    time.Duration // how far the last X-RateLimit-Reset was ahead of the answer's Date

	notBefore time.Time
}

// Limits are those that were seen, by endpoint.
func (r *Run) Limits() []Limit {
	all := make([]Limit, 0, len(r.limits))
	for _, l := range r.limits {
		all = append(all, *l)
	}
	slices.SortFunc(all, func(a, b Limit) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	return all
}

func (r *Run) limit(method, path string) *Limit {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	for i := 1; i < len(parts); i += 2 {
		parts[i] = "{id}"
	}
	endpoint := method + " /api/v2/" + strings.Join(parts, "/")
	if len(parts) == 3 { // rotate-secret, credentials
		endpoint = method + " /api/v2/" + parts[0] + "/{id}/" + parts[2]
	}
	if r.limits[endpoint] == nil {
		r.limits[endpoint] = &Limit{Endpoint: endpoint, Least: -1}
	}
	return r.limits[endpoint]
}

// learn notes what an answer says of the limit. The last request that is left is not
// used: others call the tenant, too.
func (l *Limit) learn(got answer, now time.Time) {
	l.Requests++
	if limit := got.header.Get("X-RateLimit-Limit"); limit != "" {
		l.Limit = printable(limit)
	}
	left, err := strconv.Atoi(got.header.Get("X-RateLimit-Remaining"))
	if err == nil && (l.Least < 0 || left < l.Least) {
		l.Least = left
	}
	if ahead, ok := resetAhead(got); ok {
		l.Reset = ahead
	}
	limited := got.status == http.StatusTooManyRequests
	if limited {
		l.Limited++
	}
	if limited || err == nil && left <= 1 {
		l.notBefore = now.Add(waitFor(got, now))
	}
}

// waitFor is how long to wait by an answer's headers.
func waitFor(got answer, now time.Time) time.Duration {
	wait := time.Second
	if seconds, err := strconv.Atoi(got.header.Get("Retry-After")); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if reset, err := strconv.ParseInt(got.header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		wait = time.Unix(reset, 0).Sub(now)
	}
	return min(max(wait, time.Second), longestWait)
}

// resetAhead is how far X-RateLimit-Reset is ahead of the answer's Date.
func resetAhead(got answer) (time.Duration, bool) {
	reset, err := strconv.ParseInt(got.header.Get("X-RateLimit-Reset"), 10, 64)
	date, dateErr := http.ParseTime(got.header.Get("Date"))
	if err != nil || dateErr != nil {
		return 0, false
	}
	return time.Unix(reset, 0).Sub(date), true
}

// printable drops what could move a terminal's cursor or break a table.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return -1
	}, text)
}
