package proxy

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"vault-plugin-secrets-auth0/auth0login"
)

// login is a request that carries the authentication of an application.
type login struct {
	ctx         context.Context //nolint:containedctx // without what ReverseProxy adds to it
	counts      *counts
	application *application
	clientID    string
	body        *parameters
	basic       bool // the secret is in the header, not in the body
}

// serveLogin answers a request that carries client authentication.
func (p *Proxy) serveLogin(w *recorder, r *http.Request) {
	body, refused := p.readBody(w, r)
	if refused != nil {
		p.counts.login(outcomeInvalid)
		refused.write(w)
		return
	}
	l, refused := p.authenticate(r, body)
	if refused != nil {
		p.counts.login(refused.outcome())
		if refused.cause != nil {
			p.logger.LogAttrs(r.Context(), slog.LevelError, "no credentials to log in with", slog.String("cause", refused.cause.Error()))
		}
		refused.write(w)
		return
	}
	wait := time.NewTimer(p.patience)
	defer wait.Stop()
	select {
	case p.logins <- struct{}{}:
		defer func() { <-p.logins }()
	case <-wait.C:
		p.counts.login(outcomeBusy)
		busy.write(w)
		return
	case <-r.Context().Done():
		p.counts.login(outcomeAbandoned)
		busy.write(w) // if it was a deadline of the handler's caller, the client is there
		return
	}
	if l == nil { // of an application that is not configured
		p.counts.login(outcomeForeign)
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body.raw)), int64(len(body.raw)), nil
		p.passOn(w, r, nil)
		return
	}
	p.passOn(w, r, l)
}

// readBody reads the body of a login.
func (p *Proxy) readBody(w http.ResponseWriter, r *http.Request) (*parameters, *refusal) {
	if encoding := r.Header.Values("Content-Encoding"); len(encoding) > 0 && !slices.Equal(encoding, []string{"identity"}) {
		return nil, &encodedBody
	}
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Now().Add(p.bodyTime))
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLoginBody))
	if err == nil { // else it goes on to bound what is left of the body
		_ = connection.SetReadDeadline(time.Time{})
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &tooLong
	case err != nil:
		return nil, &tooSlowBody
	}
	types := r.Header.Values("Content-Type")
	if len(types) == 0 && len(raw) == 0 {
		types = []string{formType}
	}
	if len(types) != 1 {
		return nil, &notUnderstood
	}
	kind, options, err := mime.ParseMediaType(types[0])
	if charset, ok := options["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return nil, &notUnderstood
	}
	if err != nil || kind != formType && kind != jsonType {
		return nil, &notUnderstood
	}
	body, err := parse(raw, kind == jsonType)
	if err != nil {
		return nil, &ambiguous
	}
	return body, nil
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// authenticate finds the application that sends a request, and checks its local secret.
// It gives no login for one that is not configured.
func (p *Proxy) authenticate(r *http.Request, body *parameters) (*login, *refusal) {
	ids, given, refused := claimed(r, body)
	if refused != nil {
		return nil, refused
	}
	configured, err := p.find(r.Context(), ids)
	if err != nil {
		unreadable := noCredentials
		unreadable.cause = err
		return nil, &unreadable
	}
	_, basic := r.Header["Authorization"]
	for _, app := range configured {
		id := *app.clientID.Load()
		// It may have changed since: then the request is another application's.
		if !slices.ContainsFunc(given, app.is) || !slices.Contains(ids, id) {
			continue
		}
		if body.has(p.local, !basic) || p.local.inHeader(r.Header, false) {
			return nil, &misplaced
		}
		return &login{counts: &p.counts, application: app, clientID: id, body: body, basic: basic}, nil
	}
	switch {
	case len(configured) > 0, p.local.inHeader(r.Header, true), body.has(p.local, false):
		return nil, &unauthorized
	case p.onlyLogin:
		return nil, &foreign
	}
	return nil, nil
}

// claimed gives the client ID and the secret that a request comes with, in each way in
// which they can be meant. It refuses what brings more than one of them.
func claimed(r *http.Request, body *parameters) (ids, secrets []string, refused *refusal) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, nil, &ambiguous
	}
	for name := range query {
		if isAuthentication(name) || disguised(name) {
			return nil, nil, &ambiguous
		}
	}
	id, secret, assertion := body.values["client_id"], body.values["client_secret"], body.values["client_assertion"]
	ids = []string{id}
	if secret != "" {
		secrets = []string{secret}
	}
	if header, ok := r.Header["Authorization"]; ok {
		basicID, basicSecret, ok := r.BasicAuth()
		if !ok || len(header) != 1 || secret != "" || assertion != "" {
			return nil, nil, &ambiguous
		}
		// RFC 6749 has them form-encoded; many do not do that.
		ids, secrets = bothWays(basicID), bothWays(basicSecret)
		if _, inBody := body.values["client_id"]; inBody && !slices.Contains(ids, id) {
			return nil, nil, &ambiguous
		}
	}
	if secret != "" && assertion != "" {
		return nil, nil, &ambiguous
	}
	return ids, secrets, nil
}

func bothWays(text string) []string {
	if decoded, err := url.QueryUnescape(text); err == nil && decoded != text {
		return []string{text, decoded}
	}
	return []string{text}
}

// find gives the applications with one of the client IDs. It is an error if it is not
// known of all applications which they have: this could be one of those, with a secret
// that must not pass.
func (p *Proxy) find(ctx context.Context, ids []string) ([]*application, error) {
	if found := p.known(ids); len(found) > 0 {
		return found, nil
	}
	var unknown error
	for _, app := range p.applications {
		if app.clientID.Load() != nil && !app.mayAsk(p.askPause) {
			continue
		}
		if err := app.learn(ctx); err != nil && app.clientID.Load() == nil {
			unknown = err
		}
	}
	if found := p.known(ids); len(found) > 0 {
		return found, nil
	}
	return nil, unknown
}

// mayAsk says whether the source is to be asked whether the client ID has changed. That may
// be a request to Vault, so one in a while is for all who come with an ID that is not known.
func (a *application) mayAsk(pause time.Duration) bool {
	now, last := time.Now().UnixNano(), a.asked.Load()
	return (now < last || now-last >= int64(pause)) && a.asked.CompareAndSwap(last, now)
}

func (p *Proxy) known(ids []string) (found []*application) {
	for _, app := range p.applications {
		if id := app.clientID.Load(); id != nil && slices.Contains(ids, *id) {
			found = append(found, app)
		}
	}
	return found
}

// errPassedOn is the error of an attempt that tells nothing about its secret.
var errPassedOn = errors.New("an answer to be passed on")

// roundTrip sends the login to Auth0 with one secret after the other, and gives the
// answer to pass on.
func (l *login) roundTrip(upstream http.RoundTripper, r *http.Request) (*http.Response, error) {
	var answer *http.Response
	attempts := 0
	err := l.application.login.Login(l.ctx, func(_ context.Context, c auth0login.Credentials, secret string) (err error) {
		answer = nil
		if c.ClientID != l.clientID {
			l.application.clientID.Store(&c.ClientID)
			return errors.New("the credentials are of another application now")
		}
		attempts++
		answer, err = upstream.RoundTrip(l.attempt(r, secret, c.ByAssertion())) //nolint:bodyclose // examine and ReverseProxy do
		if err != nil {
			return err
		}
		return examine(answer, realOf(c, secret))
	})
	var refused *oauth2.RetrieveError
	switch {
	case errors.Is(err, auth0login.ErrRefused) && errors.As(err, &refused):
		answer = refused.Response // that of the more telling refusal
		l.counts.login(outcomeRefused)
	case err == nil, errors.As(err, &refused): // it says that the grant is invalid: the secret was accepted
		l.counts.login(outcomeAccepted)
		if attempts > 1 {
			l.counts.fellBack.Add(1)
		}
	case errors.Is(err, errPassedOn):
		l.counts.login(outcomeOther)
	case errors.Is(l.ctx.Err(), context.Canceled):
		l.counts.login(outcomeAbandoned)
		return nil, err
	case attempts == 0:
		l.counts.login(outcomeNoCredentials)
		unreadable := noCredentials
		unreadable.cause = err
		return nil, unreadable
	default:
		l.counts.login(outcomeUnreachable)
		return nil, err
	}
	passed := *answer // net/http fills the trailer of the other one at the end of its body
	passed.Request, passed.Trailer = r, nil
	return &passed, nil
}

// attempt is the request to Auth0 with a secret, or with a client assertion.
func (l *login) attempt(r *http.Request, secret string, byAssertion bool) *http.Request {
	attempt := r.Clone(l.ctx)
	attempt.Header.Set("Accept-Encoding", "identity") // without one any is acceptable (RFC 9110, 12.5.3)
	for _, name := range []string{"Authorization", "Content-Encoding", "Expect", "X-Http-Method-Override", "X-Method-Override", "X-Http-Method"} {
		attempt.Header.Del(name)
	}
	raw := l.body.raw
	switch {
	case byAssertion:
		raw = l.body.asserting(l.clientID, secret)
		if attempt.Header.Get("Content-Type") == "" { // the body was empty
			attempt.Header.Set("Content-Type", formType)
		}
	case l.basic:
		attempt.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(l.clientID)+":"+url.QueryEscape(secret))))
	default:
		raw = l.body.with(secret)
	}
	attempt.ContentLength, attempt.TransferEncoding = int64(len(raw)), nil
	attempt.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
	attempt.Body, _ = attempt.GetBody()
	return attempt
}

// examine reads an answer, as far as that is bounded, and says what it tells of the
// secret: nil that it is accepted, and else what auth0login understands. The answer can be
// passed on after it, unless it has a real secret in it.
func examine(answer *http.Response, real secrets) error {
	whole := answer.Body
	head, err := io.ReadAll(io.LimitReader(whole, maxLoginBody))
	if err != nil {
		_ = whole.Close()
		return err
	}
	if real.inHeader(answer.Header, true) || real.encodedIn(string(head)) {
		_ = whole.Close()
		return refusal{status: 502, code: "server_error", description: "auth0-login-proxy: the answer of Auth0 has the client secret in it, and is not passed on"}
	}
	if len(head) < maxLoginBody {
		_ = whole.Close()
		answer.Body = io.NopCloser(bytes.NewReader(head))
	} else {
		answer.Body = real.guard(struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), whole), whole})
	}
	if answer.StatusCode/100 == 2 {
		return nil
	}
	var said struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if answer.StatusCode/100 != 4 || json.Unmarshal(head, &said) != nil {
		return errPassedOn
	}
	switch said.Error {
	case "access_denied", "invalid_client":
		if answer.StatusCode != http.StatusUnauthorized && answer.StatusCode != http.StatusForbidden &&
			(answer.StatusCode != http.StatusBadRequest || said.Error != "invalid_client") { // see auth0login
			return errPassedOn
		}
	case "invalid_grant":
	default:
		return errPassedOn
	}
	return &oauth2.RetrieveError{Response: answer, ErrorCode: said.Error, ErrorDescription: said.Description}
}
