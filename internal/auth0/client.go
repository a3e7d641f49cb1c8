// Package auth0 is a small client for the few calls of Auth0's Management API
// that a rotation of client secrets needs: to look at applications, to set a
// secret, to have Auth0 make one, and to register and remove keys of
// private_key_jwt.
//
//	c, err := auth0.New(auth0.Config{Domain: "tenant.eu.auth0.com", ClientID: id, Secrets: []string{secret}})
//	...
//	defer c.Close()
//	err = c.SetSecret(ctx, application, next)
//	switch auth0.ClassOf(err) { ... }
//
// A caller has to know whether a request took effect. So every error is an
// *[Error] with a [Class]. It is [Refused] only if Auth0 itself has said so: all
// else, a time-out as much as a proxy's error page, is [Ambiguous].
//
// The client gets its own access token by client credentials, shares it among
// concurrent calls, and replaces it before it expires or once when the API
// says 401. Reads, trials of keys and token requests (but for one with an assertion,
// which is good once) are sent again after a lost connection or a 5xx; writes never are. After Auth0 has limited the rate, calls wait for as
// long as it said (see [Client.RateLimit]).
//
// Errors, logs and printed values hold neither secrets nor tokens, nor any text of
// an answer that was not a success, which could quote them.
package auth0

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-retryablehttp"
)

const defaultRequestTimeout = 30 * time.Second

// Config says which tenant a Client talks to and as whom.
type Config struct {
	Domain   string // host or host:port; always https
	ClientID string // of the engine's own machine-to-machine application
	// Secrets are what it logs in with: client secrets or, with a
	// SigningAlgorithm, private keys (RSA, in PEM). While they are rotated there are
	// several: after one that is refused the client tries the next.
	Secrets          []string      `json:"-"`
	SigningAlgorithm string        // of private_key_jwt: RS256, RS384 or PS256; empty: client_secret_post
	Audience         string        // empty: https://<Domain>/api/v2/
	CACert           string        // PEM, the only roots that are trusted; empty: the system's
	RequestTimeout   time.Duration // bound on one HTTP request with its answer's body; 0: 30s
	UserAgent        string        // empty: Go's
	Logger           hclog.Logger  `json:"-"` // nil: none. Gets neither secrets nor tokens
	Limits           *Limits       `json:"-"` // what is known of the tenant's rate limit; nil: nothing yet
	Counts           *Counts       `json:"-"` // where requests are counted; nil: nowhere
}

// Format implements fmt.Formatter: no verb shows a secret.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "auth0.Config{Domain:%q ClientID:%q Secrets:%d Audience:%q}", c.Domain, c.ClientID, len(c.Secrets), c.Audience)
}

// Client talks to one tenant with one set of credentials. It is safe for
// concurrent use. It holds secrets and tokens behind pointers only: fmt calls no
// Format of an unexported field.
type Client struct {
	base     string   // https://<domain>
	audience string   // the Management API's
	logins   []*login // one for each secret, in the order in which they are tried
	log      hclog.Logger
	retry    *retryablehttp.Client // the retry settings behind retrying
	retrying *http.Client          // for what may be sent again: reads and token requests
	once     *http.Client          // for writes: what is lost stays lost
	tokens   *tokenCache
	limits   *Limits
	counts   *Counts
	clock    *clockWatch
}

// New makes a client. It does no I/O: the first call does. The error, for an
// unusable Domain, CACert or private key, quotes none of them.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse("https://" + cfg.Domain)
	if err != nil || base.Hostname() == "" || base.Host != cfg.Domain {
		return nil, errors.New("auth0: the domain must be host or host:port, without scheme and path")
	}
	cfg.Audience = cmp.Or(cfg.Audience, base.String()+"/api/v2/")
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, defaultRequestTimeout)
	c := &Client{
		base: base.String(), audience: cfg.Audience,
		log:    cmp.Or(cfg.Logger, hclog.NewNullLogger()),
		limits: cmp.Or(cfg.Limits, &Limits{}),
		counts: cmp.Or(cfg.Counts, &Counts{}),
		clock:  &clockWatch{},
	}
	for _, secret := range cfg.Secrets {
		l, err := newLogin(cfg, c.base, secret)
		if err != nil {
			return nil, err
		}
		c.logins = append(c.logins, l)
	}
	tr, err := newTransport(cfg.CACert, cfg.UserAgent, c.clock, c.counts)
	if err != nil {
		return nil, err
	}
	c.once = newHTTPClient(tr, cfg.RequestTimeout)
	c.retry, c.retrying = newRetryingClient(c.once)
	c.tokens = &tokenCache{fetch: func(ctx context.Context) (*token, error) { return c.fetchToken(ctx, nil) }, timeout: cfg.RequestTimeout}
	return c, nil
}

// Close closes idle connections. Calls under way go on.
func (c *Client) Close() { c.once.CloseIdleConnections() }

// Format implements fmt.Formatter: no verb shows what the client holds.
func (c *Client) Format(f fmt.State, _ rune) {
	if c == nil {
		_, _ = fmt.Fprint(f, "<nil>")
		return
	}
	_, _ = fmt.Fprintf(f, "auth0.Client{%q}", c.base)
}

// request is one call of the Management API.
type request struct {
	op       string // for errors: Error.Op
	endpoint *Endpoint
	clientID string // for {id} in the endpoint's path
	item     string // for {credential} in it
	query    url.Values
	body     any // becomes JSON; nil: none
}

// check refuses what is no client ID: an empty one would name all applications, and
// "." or ".." something else yet.
func (r request) check() error {
	if r.endpoint != endpointApplications && !isID(r.clientID) {
		return notSent(r.op, "not a client ID")
	}
	return nil
}

func isID(id string) bool { return id != "" && id != "." && id != ".." }

// address gives what follows the domain in the request's URL.
func (r request) address() string {
	path := strings.NewReplacer("{id}", url.PathEscape(r.clientID), "{credential}", url.PathEscape(r.item)).Replace(r.endpoint.Path)
	if len(r.query) > 0 {
		path += "?" + r.query.Encode()
	}
	return path
}

// do carries out r and gives the body of a 2xx answer; all else is an *Error.
//
// r is sent at most once, or twice if the first answer was Auth0's own 401:
// then it had no effect, and the token may merely have been revoked.
func (c *Client) do(ctx context.Context, r request) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		// First the wait, so that the token is fresh when it is used.
		turn, err := c.limits.of(r.endpoint).wait(ctx, r.op)
		if err != nil {
			return nil, err
		}
		tok, err := c.tokens.get(ctx)
		if err != nil {
			turn.unused()
			return nil, err
		}
		body, failure := c.send(ctx, r, tok, turn)
		turn.done()
		if failure == nil {
			return body, nil
		}
		switch {
		case failure.Class != Refused:
		case failure.Status == http.StatusUnauthorized:
			c.tokens.drop(tok)
			if attempt == 1 {
				continue
			}
		case failure.Code == CodeInsufficientScope && failure.fields == nil:
			// A grant that is extended meanwhile shows only in a new token,
			// and this one may have a day to live: the next call gets a new one.
			c.tokens.drop(tok)
			failure.Message = r.endpoint.lacking()
		}
		return nil, failure
	}
}

// send sends r with tok. It does so once; the HTTP client for reads may send it again.
func (c *Client) send(ctx context.Context, r request, tok *token, turn *turn) ([]byte, *Error) {
	var payload []byte
	if r.body != nil {
		var err error
		if payload, err = json.Marshal(r.body); err != nil {
			return nil, notSent(r.op, "the request cannot be made")
		}
	}
	req, err := http.NewRequestWithContext(to(ctx, r.endpoint), r.endpoint.Method, c.base+r.address(), bytes.NewReader(payload))
	if err != nil {
		return nil, notSent(r.op, "the request cannot be made")
	}
	// Without an Idempotency-Key header net/http does not send a PATCH or POST
	// again by itself when a reused connection turns out to be dead, unless not
	// a byte of it was written.
	req.Header.Set("Authorization", "Bearer "+tok.value)
	req.Header.Set("Accept", "application/json")
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}

	client := c.once
	if r.endpoint.Method == http.MethodGet {
		client = c.retrying
	}
	start := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		c.log.Trace("no answer from Auth0", "op", r.op, "took", time.Since(start))
		return nil, noAnswer(r.op, err)
	}
	defer func() { _ = resp.Body.Close() }()
	turn.observe(resp.StatusCode, resp.Header)
	body, err := readBody(resp.Body)
	c.log.Trace("answer from Auth0", "op", r.op, "status", resp.StatusCode, "took", time.Since(start))
	return body, judge(answer{op: r.op, status: resp.StatusCode, header: resp.Header, body: body, readErr: err})
}
