package examples

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var templateContents = regexp.MustCompile(`(?s)contents += <<-EOT\n(.*?)EOT`)

// TestTemplateOfTokens renders a file that has what the application checks, with and
// without a time at which the token expires.
func TestTemplateOfTokens(t *testing.T) {
	config := text(t, "vault-agent/token.hcl")
	contents := templateContents.FindStringSubmatch(config)[1]
	for name, expires := range map[string]any{"known": "2026-02-04T09:00:00Z", "not known": nil} {
		t.Run(name, func(t *testing.T) {
			data := map[string]any{
				"access_token": "token", "token_type": "Bearer", "expires_in": 3600, "scopes": []string{"read:orders"},
				"audience": "https://api.example.com/", "domain": "example.eu.auth0.com",
			}
			if expires != nil {
				data["expires_at"] = expires
			}
			var file map[string]any
			require.NoError(t, json.Unmarshal(rendered(t, contents, template.FuncMap{
				"secret": func(path string) any {
					require.Equal(t, "auth0/tokens/orders", path)
					return struct{ Data map[string]any }{data}
				},
				"toJSON": toJSON,
			}, nil), &file))
			assert.Equal(t, map[string]any{
				"access_token": "token", "expires_at": expires, "audience": "https://api.example.com/", "domain": "example.eu.auth0.com",
			}, file)
		})
	}
	assert.Contains(t, config, `perms                = "0600"`)
	for _, setting := range []string{"mode", "user", "group"} { // in vain without each other
		assert.Contains(t, text(t, "vault-proxy/proxy.hcl"), "socket_"+setting+" ")
	}
}

// orders is the API, which takes one token and redirects some.
type orders struct {
	*httptest.Server
	accepted string
	came     []string // the tokens
	redirect string   // where to; "": it answers
	refuse   func()   // is called with each refusal
}

func startOrders(t *testing.T) *orders {
	t.Helper()
	o := &orders{accepted: "good", refuse: func() {}}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		o.came = append(o.came, token)
		switch {
		case token != o.accepted:
			o.refuse()
			w.WriteHeader(http.StatusUnauthorized)
		case o.redirect != "":
			http.Redirect(w, r, o.redirect, http.StatusFound)
		default:
			_, _ = w.Write([]byte("two orders"))
		}
	}))
	t.Cleanup(o.Close)
	return o
}

// TestServiceWithATokenFile runs tokens/orders.py.
func TestServiceWithATokenFile(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("skipped: python3 is not installed")
	}
	file := filepath.Join(t.TempDir(), "token.json")
	render := func(token string, until any, audience, domain string) {
		written, err := toJSON(map[string]any{"access_token": token, "expires_at": until, "audience": audience, "domain": domain})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, []byte(written), 0o600))
	}
	const audience, domain = "https://api.example.com/", "example.eu.auth0.com"
	soon, past := time.Now().Add(time.Hour).UTC().Format(time.RFC3339), time.Now().Add(-time.Second).UTC().Format(time.RFC3339)
	elsewhere := startOrders(t)
	for name, c := range map[string]struct {
		render func()
		api    func(*orders)
		want   string
		came   []string
	}{
		"a good token":   {render: func() { render("good", soon, audience, domain) }, want: "two orders", came: []string{"good"}},
		"no time known":  {render: func() { render("good", nil, audience, "Example.EU.auth0.com") }, want: "two orders", came: []string{"good"}},
		"another API":    {render: func() { render("good", soon, "https://example.eu.auth0.com/api/v2/", domain) }, want: "is expected"},
		"another tenant": {render: func() { render("good", soon, audience, "tenant.example.com") }, want: "is expected"},
		"expired":        {render: func() { render("good", past, audience, domain) }, want: "has expired"},
		"refused":        {render: func() { render("bad", soon, audience, domain) }, want: "401", came: []string{"bad"}},
		"refused, and replaced": {
			render: func() { render("bad", soon, audience, domain) },
			api:    func(o *orders) { o.refuse = func() { render("good", soon, audience, domain) } },
			want:   "two orders", came: []string{"bad", "good"},
		},
		"refused twice": {
			render: func() { render("bad", soon, audience, domain) },
			api: func(o *orders) {
				o.refuse = func() { render("bad-"+string(rune('a'+len(o.came))), soon, audience, domain) }
			},
			want: "401", came: []string{"bad", "bad-b"},
		},
		"a redirect elsewhere": {
			render: func() { render("good", soon, audience, domain) },
			api:    func(o *orders) { o.redirect = elsewhere.URL }, want: "302", came: []string{"good"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			api := startOrders(t)
			if c.api != nil {
				c.api(api)
			}
			c.render()
			cmd := exec.CommandContext(t.Context(), python, "-B", "tokens/orders.py")
			cmd.Env = append(os.Environ(), "TOKEN_FILE="+file, "AUTH0_DOMAIN="+domain, "AUDIENCE="+audience, "ORDERS_URL="+api.URL)
			out, err := cmd.CombinedOutput()
			assert.Equal(t, c.want == "two orders", err == nil)
			assert.Contains(t, string(out), c.want)
			assert.NotContains(t, string(out), "good")
			assert.NotContains(t, string(out), "bad")
			assert.Equal(t, c.came, api.came)
			assert.Empty(t, elsewhere.came)
		})
	}
}

// TestGitHubTokenJob: the job checks whose token it has, and shows it in no command line.
func TestGitHubTokenJob(t *testing.T) {
	workflow := resources(t, "github-actions/orders.yml")["<nil> <nil>"]
	steps := workflow.at("jobs", "smoke", "steps").([]any)
	secrets := resource{"s": steps}.at("s", "with", "secrets").(string)
	read := map[string]string{}
	for each := range strings.SplitSeq(secrets, ";") {
		source, variable, found := strings.Cut(each, "|")
		require.True(t, found)
		read[strings.TrimSpace(variable)] = strings.TrimSpace(source)
	}
	assert.Equal(t, map[string]string{
		"TOKEN": "auth0/tokens/orders access_token", "DOMAIN": "auth0/tokens/orders domain", "AUDIENCE": "auth0/tokens/orders audience",
	}, read)

	script := resource{"s": steps[1:]}.at("s", "run").(string)
	assert.NotContains(t, script, "${{", "a token would be in the script")
	bash, err := exec.LookPath("bash")
	require.NoError(t, err)
	dir := t.TempDir()
	curl := "#!/bin/sh\nprintf '%s ' \"$@\" >>\"$0.args\"\ncat >>\"$0.in\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "curl"), []byte(curl), 0o700))
	run := func(domain, audience string) error {
		cmd := exec.CommandContext(t.Context(), bash, "-e", "-c", script)
		cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "TOKEN=the-token", "DOMAIN=" + domain, "AUDIENCE=" + audience}
		return cmd.Run()
	}
	const audience, domain = "https://api.example.com/", "example.eu.auth0.com"
	require.Error(t, run("tenant.example.com", audience))
	require.Error(t, run(domain, "https://example.eu.auth0.com/api/v2/"))
	require.NoFileExists(t, filepath.Join(dir, "curl.args"))
	require.NoError(t, run(domain, audience))
	assert.NotContains(t, text(t, filepath.Join(dir, "curl.args")), "the-token")
	assert.Equal(t, "Authorization: Bearer the-token\n", text(t, filepath.Join(dir, "curl.in")))
}

// TestTokenFilesAreLinked in their document.
func TestTokenFilesAreLinked(t *testing.T) {
	document := text(t, "../docs/tokens.md")
	for _, file := range []string{
		"vault-agent/token.hcl", "vault-proxy/proxy.hcl", "tokens/orders.py", "github-actions/orders.yml",
		"github-actions/orders-role.json", "ai-agent/main.go", "ai-agent/mcp.json",
	} {
		_, err := os.Stat(file)
		require.NoError(t, err)
		assert.Contains(t, document, file)
	}
}
