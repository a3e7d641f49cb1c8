package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	timeout  = 30 * time.Second
	pageSize = 100
	maxPages = 10 // Auth0 lists no more
	maxBody  = 1 << 20
)

// api is the Management API, called with a token.
type api struct {
	http  *http.Client
	base  string
	token string
}

// application is a client object, as far as it is of use here.
type application struct {
	ClientID     string `json:"client_id"`
	Name         string `json:"name"`
	ClientSecret string `json:"client_secret"`
}

// refusal is an error that Auth0 itself has answered: nothing was done.
type refusal struct {
	status        int
	code, message string
}

// Error tells what Auth0 said.
func (r *refusal) Error() string {
	text := fmt.Sprintf("Auth0 refused (%d %s): %s", r.status, r.code, r.message)
	if r.status == http.StatusUnauthorized {
		text += ". The token is no good: they live for a day; get a new one"
	}
	return text
}

func newAPI(o *order) (*api, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.caCert != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(o.caCert)) {
			return nil, errors.New("-ca-cert holds no PEM certificate")
		}
	}
	return &api{base: "https://" + o.domain + "/api/v2/", token: o.token, http: &http.Client{
		Timeout:   timeout,
		Transport: &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		// A redirect would carry the token to somewhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// do sends a request once, and reads the answer into out.
func (a *api) do(ctx context.Context, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, &body) //nolint:gosec // whoever runs this says which tenant
	if err != nil {
		return errors.New("the request cannot be made: is the token one line of text?")
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := a.http.Do(request) //nolint:gosec // whoever runs this says which tenant
	if err != nil {
		return a.clean(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return fmt.Errorf("Auth0's answer could not be read: %w", err)
	}
	if response.StatusCode/100 != 2 {
		return a.refused(response, text)
	}
	if out != nil && json.Unmarshal(text, out) != nil {
		return errors.New("the answer is not what Auth0 answers: does a proxy answer in its place?")
	}
	return nil
}

// shortestToken is below the length of any real token.
const shortestToken = 8

// refused is the error of an answer: {"statusCode":403,"error":"Forbidden",
// "message":"...","errorCode":"..."}.
func (a *api) refused(response *http.Response, text []byte) error {
	var said struct {
		StatusCode int    `json:"statusCode"`
		Message    string `json:"message"`
		Code       string `json:"errorCode"`
	}
	if json.Unmarshal(text, &said) != nil || said.StatusCode != response.StatusCode {
		return fmt.Errorf("something other than Auth0 answered (%d, %s): check the domain, or let it through your proxy",
			response.StatusCode, response.Header.Get("Content-Type"))
	}
	if response.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("Auth0 has a problem (%d): try again", response.StatusCode)
	}
	return &refusal{status: said.StatusCode, code: said.Code, message: a.withoutToken(said.Message)}
}

// clean takes the token, and the address of the request, out of an error.
func (a *api) clean(err error) error {
	if cause := errors.Unwrap(err); cause != nil { // url.Error has method and address
		err = cause
	}
	return errors.New(a.withoutToken(err.Error()))
}

// withoutToken takes the token out of a text. One that is too short to be a token
// cannot be told from words.
func (a *api) withoutToken(text string) string {
	if len(a.token) < shortestToken {
		return text
	}
	return strings.ReplaceAll(text, a.token, "[redacted]")
}

// find gives the client ID of an application with a name, "" if there is none.
func (a *api) find(ctx context.Context, name string) (string, error) {
	for page := range maxPages {
		var found []application
		query := "clients?fields=client_id,name&include_fields=true&per_page=" + strconv.Itoa(pageSize) + "&page=" + strconv.Itoa(page)
		if err := a.do(ctx, http.MethodGet, query, nil, &found); err != nil {
			return "", err
		}
		for _, app := range found {
			if app.Name == name {
				return app.ClientID, nil
			}
		}
		if len(found) < pageSize {
			break
		}
	}
	return "", nil
}
