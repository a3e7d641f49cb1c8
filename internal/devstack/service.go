package devstack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"vault-plugin-secrets-auth0/internal/tenant"
)

// Service is a small service that calls an API again and again, and gets the token anew
// for each call.
type Service struct {
	Stop func() // waits for the call under way

	tokens  oauth2.TokenSource
	api     *tenant.ProtectedAPI
	url     string
	without atomic.Int64
}

// StartService starts a service and the API that it calls, which checks each token. It
// begins no call before the last one has ended. It runs until Stop.
func (s *Stack) StartService(ctx context.Context, tokens oauth2.TokenSource, audience, scope string, every time.Duration) *Service {
	v := &Service{tokens: tokens, api: s.Tenant.Protect(audience, scope)}
	server := httptest.NewServer(v.api)
	v.url = server.URL
	stop := inBackground(ctx, func(ctx context.Context) { v.run(ctx, every) })
	v.Stop = sync.OnceFunc(func() {
		stop()
		server.Close()
	})
	return v
}

// Calls are what the API has counted.
func (v *Service) Calls() tenant.Calls { return v.api.Calls() }

// Without is how many calls were not made: there was no token, or one that ends within
// seconds. That one is not sent, since a busy machine may take as long.
func (v *Service) Without() int { return int(v.without.Load()) }

func (v *Service) run(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		token, err := v.tokens.Token()
		if err != nil || !token.Valid() {
			v.without.Add(1)
			continue
		}
		v.call(context.WithoutCancel(ctx), token)
	}
}

func (v *Service) call(ctx context.Context, token *oauth2.Token) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url, nil)
	if err != nil {
		return
	}
	token.SetAuthHeader(req)
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close()
	}
}

// TokenFile is the access token in a file of [Stack.StartTokenAgent].
func TokenFile(file string) oauth2.TokenSource { return tokenFile(file) }

type tokenFile string

// Token reads the file.
func (f tokenFile) Token() (*oauth2.Token, error) {
	text, err := os.ReadFile(string(f))
	if err != nil {
		return nil, err
	}
	var data map[string]any
	if err := json.Unmarshal(text, &data); err != nil {
		return nil, err
	}
	return TokenOf(data)
}

// TokenOf is the access token in the data of an answer of tokens/.
func TokenOf(data map[string]any) (*oauth2.Token, error) {
	expires, err := time.Parse(time.RFC3339, fmt.Sprint(data["expires_at"]))
	return &oauth2.Token{AccessToken: fmt.Sprint(data["access_token"]), TokenType: "Bearer", Expiry: expires}, err
}
