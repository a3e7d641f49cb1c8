package auth0

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-cleanhttp"
	"github.com/hashicorp/go-retryablehttp"
)

const (
	// maxBody bounds what is read of an answer; a client object has a few KiB.
	maxBody = 1 << 20
	// idleTimeout is shorter than servers and balancers keep idle connections: the
	// outcome of a write on one that the other side has closed is unknown.
	idleTimeout = 30 * time.Second
	// maxHeader bounds an answer's header; Auth0's have about 2 KiB.
	maxHeader = 64 << 10 // bytes
	// maxIdle connections are kept, so that many rotations at a time do not each
	// begin with a handshake.
	maxIdle = 64

	retryMax     = 2
	retryWaitMin = 100 * time.Millisecond
	retryWaitMax = 300 * time.Millisecond
)

// QuietStandardLog is for the main function of every program that has a client. If an
// answer is followed by more bytes, net/http prints them by the standard library's log,
// and they could quote a secret.
func QuietStandardLog() { log.SetOutput(io.Discard) }

// transport adds the User-Agent to every request, counts it, and notes the time that
// the answer tells.
type transport struct {
	*http.Transport
	userAgent string
	clock     *clockWatch
	counts    *Counts
}

func newTransport(caCert, userAgent string, clock *clockWatch, counts *Counts) (*transport, error) {
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if caCert != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(caCert)) {
			return nil, errors.New("auth0: the CA certificate has no usable PEM certificate")
		}
		tlsConfig.RootCAs = pool
	}
	t := cleanhttp.DefaultPooledTransport() // honours HTTPS_PROXY
	t.TLSClientConfig = tlsConfig
	t.IdleConnTimeout = idleTimeout
	t.MaxIdleConnsPerHost = maxIdle
	t.MaxResponseHeaderBytes = maxHeader
	// HTTP/1.1 only: the HTTP/2 transport sends a request without a body again
	// after certain stream errors, and rotate-secret must never be sent twice.
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	return &transport{Transport: t, userAgent: userAgent, clock: clock, counts: counts}, nil
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.userAgent != "" {
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", t.userAgent)
	}
	sent := time.Now()
	resp, err := t.Transport.RoundTrip(req)
	if err != nil {
		t.counts.sent(req.Context(), 0)
	} else {
		t.counts.sent(req.Context(), resp.StatusCode)
		t.clock.observe(resp.Header, sent, time.Now())
		if resp.StatusCode == http.StatusSwitchingProtocols { // its body is the connection, which no time-out ends
			_ = resp.Body.Close()
			resp.Body = http.NoBody
		}
	}
	return resp, err
}

// newHTTPClient sends each request once, and bounds it by timeout from dialling
// to the last byte of the answer's body.
func newHTTPClient(rt http.RoundTripper, timeout time.Duration) *http.Client {
	return &http.Client{
		Transport: rt,
		Timeout:   timeout,
		// A redirect would carry the token or a new secret to somewhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newRetryingClient sends each request by once, again after failures that may pass. It
// gives the last answer as it is.
func newRetryingClient(once *http.Client) (*retryablehttp.Client, *http.Client) {
	r := &retryablehttp.Client{
		HTTPClient:   once,
		Logger:       nil, // it would log addresses and upstream texts
		RetryWaitMin: retryWaitMin,
		RetryWaitMax: retryWaitMax,
		RetryMax:     retryMax,
		CheckRetry:   checkRetry,
		Backoff:      retryablehttp.LinearJitterBackoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	return r, newHTTPClient(&retryablehttp.RoundTripper{Client: r}, 0) // the bound is on each attempt
}

// checkRetry allows another attempt after a lost connection or a 5xx, but not after a
// time-out (the caller has waited long enough), a 429 (the rate limit has its own
// wait), or a certificate that is not trusted. It never returns an error: then
// retryablehttp would not close the answer's body.
func checkRetry(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, nil //nolint:nilerr // the caller sees the request's own error
	}
	if err == nil {
		return resp.StatusCode >= 500, nil
	}
	timeout, ok := errors.AsType[net.Error](err)
	late := ok && timeout.Timeout()
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	return !late && !untrusted && !notTLS, nil
}

var errTooLong = errors.New("the answer is too long")

// readBody reads all of an answer's body, at most maxBody.
func readBody(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errTooLong
	}
	return body, err
}
