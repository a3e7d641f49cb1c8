package devstack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

// Service is a small service that calls an API again and again, and gets the token anew
// for each call. The API counts what comes of the calls.
type Service struct {
	Tokens oauth2.TokenSource // such as TokenFile
	API    string             // its URL
	Every  time.Duration      // between two calls, at least

	// Without counts the calls that were not made: there was no token, or one that ends
	// within seconds. That one is not sent, since a busy machine may take as long.
	Without atomic.Int64
}

// Run calls the API until the context ends, and waits for the call under way.
func (s *Service) Run(ctx context.Context) {
	ticker := time.NewTicker(s.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		token, err := s.Tokens.Token()
		if err != nil || !token.Valid() {
			s.Without.Add(1)
			continue
		}
		s.call(context.WithoutCancel(ctx), token)
	}
}

func (s *Service) call(ctx context.Context, token *oauth2.Token) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.API, nil)
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
