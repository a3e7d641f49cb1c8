package devstack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Credentials is what an application needs to log in: the answer of creds/ as
// Vault Agent renders it.
type Credentials struct {
	Domain        string   `json:"domain"`
	ClientID      string   `json:"client_id"`
	ClientSecrets []string `json:"client_secrets"`
}

// ReadCredentials reads a file that was rendered with Template.
func ReadCredentials(file string) (Credentials, error) {
	var c Credentials
	text, err := os.ReadFile(file) //nolint:gosec // the caller's own file
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("%s: %w", file, err)
	}
	if len(c.ClientSecrets) == 0 {
		return c, fmt.Errorf("%s: no client_secrets", file)
	}
	return c, nil
}

// Template renders the credentials of a role as JSON.
func Template(mount, role string) string {
	return fmt.Sprintf(`{{ with secret "%s/creds/%s" }}{{ .Data | toJSON }}{{ end }}`, mount, role)
}

// Application is a small application that logs in again and again with what
// its file of credentials says, in the order in which it says it.
type Application struct {
	File    string        // rendered by Vault Agent
	Every   time.Duration // between the beginnings of two logins
	HTTP    *http.Client  // trusts the tenant
	Prefix  string        // makes its login IDs different from others'
	started atomic.Int64
}

// Run logs in until the context ends, and waits for logins under way.
func (a *Application) Run(ctx context.Context) {
	ticker := time.NewTicker(a.Every)
	defer ticker.Stop()
	var logins sync.WaitGroup
	defer logins.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			logins.Go(func() { a.login(context.WithoutCancel(ctx)) })
		}
	}
}

// rounds is how often a login goes through the secrets. Once is not enough
// while a new secret reaches Auth0's nodes: it may be refused as not there yet,
// arrive, and so have the old one refused as not there any more.
const rounds = 2

// login tries the secrets in order, and once more if all were refused. The
// tenant counts what comes of it: the login has an ID, and the last attempt
// says that it is the last.
func (a *Application) login(ctx context.Context) {
	credentials, err := ReadCredentials(a.File)
	if err != nil {
		return // not rendered yet
	}
	id := a.Prefix + strconv.FormatInt(a.started.Add(1), 10)
	attempts := slices.Repeat(credentials.ClientSecrets, rounds)
	for i, secret := range attempts {
		last := i == len(attempts)-1
		if status, err := a.attempt(ctx, credentials, secret, id, last); err == nil && status == http.StatusOK {
			return
		}
	}
}

func (a *Application) attempt(ctx context.Context, c Credentials, secret, id string, last bool) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.ClientID}, "client_secret": {secret},
		"audience": {"https://api.example.com/"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+c.Domain+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Login-Id", id)
	if last {
		req.Header.Set("X-Login-Last", "true")
	}
	resp, err := a.HTTP.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
