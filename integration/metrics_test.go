//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/answers"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/devvault"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// scraper is a token with the policy of docs/operations.md.
func (s *suite) scraper() string {
	s.t.Helper()
	document, err := os.ReadFile("../docs/operations.md")
	require.NoError(s.t, err)
	policy := regexp.MustCompile(`(?s)vault policy write prometheus - <<'POLICY'\n(.*?)POLICY\n`).FindSubmatch(document)
	require.NotNil(s.t, policy)
	client := s.Vault.Client()
	require.NoError(s.t, client.Sys().PutPolicyWithContext(s.t.Context(), "prometheus", string(policy[1])))
	token, err := client.Auth().Token().CreateOrphanWithContext(s.t.Context(), &api.TokenCreateRequest{
		Policies: []string{"prometheus"}, NoDefaultPolicy: true, Period: "72h",
	})
	require.NoError(s.t, err)
	return token.Auth.ClientToken
}

// metric is the sum of a metric's values with these values of labels.
func (s *suite) metric(name string, labels ...string) int {
	s.t.Helper()
	family := answers.Metrics(s.t, s.read("metrics"))[name]
	require.NotNil(s.t, family, name)
	sum := 0
	for _, metric := range family.GetMetric() {
		matching := 0
		for i, label := range metric.GetLabel() {
			if i < len(labels) && label.GetValue() == labels[i] {
				matching++
			}
		}
		if matching == len(labels) {
			sum += int(metric.GetGauge().GetValue() + metric.GetCounter().GetValue())
		}
	}
	return sum
}

// TestMetricsOfARealMount: what was really sent to the tenant, and how it went.
func TestMetricsOfARealMount(t *testing.T) {
	t.Parallel()
	s, app := shop(t, "10s")
	assert.Equal(t, 1, s.metric("auth0_roles"))
	for range 3 {
		s.read("creds/shop")
	}
	s.read("static-creds/shop")
	assert.Equal(t, 3, s.metric("auth0_credential_reads_total", "creds"))
	assert.Equal(t, 1, s.metric("auth0_credential_reads_total", "static-creds"))
	s.write("rotate/shop", map[string]any{"force": true})
	assert.Equal(t, 1, s.metric("auth0_rotations_total", "role"))
	assert.Equal(t, 1, s.metric("auth0_requests_total", "PATCH /api/v2/clients/{id}", "2xx"))
	assert.Positive(t, s.metric("auth0_tokens_issued_total"))
	assert.Equal(t, s.metric("auth0_tokens_issued_total"), s.metric("auth0_requests_total", "POST /oauth/token", "2xx"))
	assert.Positive(t, s.metric("auth0_rate_limit"))

	clear := s.Tenant.Inject(tenant.Fault{Kind: tenant.ServerError, Status: 503, Endpoint: tenant.UpdateApplication, ClientID: app.ClientID})
	_, err := s.request(logical.UpdateOperation, "rotate/shop", map[string]any{"force": true})
	require.Error(t, err)
	assert.Equal(t, 1, s.metric("auth0_roles_failing"))
	assert.Equal(t, 1, s.metric("auth0_requests_total", "PATCH /api/v2/clients/{id}", "5xx"))
	assert.Equal(t, 1, s.metric("auth0_rotation_attempts_total", "role", "unclear"))
	clear()

	client, err := s.Vault.Client().Clone()
	require.NoError(t, err)
	client.SetToken(s.scraper())
	body, err := readText(client.Logical(), devstack.Mount+"/metrics")
	require.NoError(t, err)
	answers.Check(t, s.router, logical.ReadOperation, "metrics", body)
	for _, path := range []string{"status", "creds/shop", "roles/shop", "config"} {
		_, err = client.Logical().ReadWithContext(t.Context(), devstack.Mount+"/"+path)
		denied(t, err)
	}
}

// prometheus is a real one, with the configuration and the rules of
// examples/monitoring.
type prometheus struct {
	t    *testing.T
	addr string
}

// startPrometheus starts one that scrapes the Vault each second.
func (s *suite) startPrometheus(binary, tokenFile string) *prometheus {
	s.t.Helper()
	dir := filepath.Join(s.Dir, "prometheus")
	require.NoError(s.t, os.MkdirAll(dir, 0o750))
	vault, err := url.Parse(s.Vault.Addr())
	require.NoError(s.t, err)
	writeFile(s.t, filepath.Join(dir, "prometheus.yml"), example(s.t, "monitoring/prometheus.yml",
		"scheme: https", "scheme: "+vault.Scheme, "vault.example.com:8200", vault.Host,
		"/etc/prometheus/vault-token", tokenFile, "_interval: 30s", "_interval: 1s"))
	writeFile(s.t, filepath.Join(dir, "rules.yml"), example(s.t, "monitoring/rules.yml", "for: 30m", "for: 2s"))
	p := &prometheus{t: s.t}
	p.addr, err = devvault.FreeAddress()
	require.NoError(s.t, err)
	log, err := os.Create(filepath.Join(dir, "prometheus.log"))
	require.NoError(s.t, err)
	command := exec.Command(binary, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+p.addr)
	command.Stdout, command.Stderr = log, log
	require.NoError(s.t, command.Start())
	s.t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = log.Close()
	})
	return p
}

// get asks its API. False: it has no answer, or an error.
func (p *prometheus) get(path string, data any) bool {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+path, nil)
	require.NoError(p.t, err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	answer := struct {
		Status string
		Data   any
	}{Data: data}
	return json.NewDecoder(resp.Body).Decode(&answer) == nil && answer.Status == "success"
}

// query is the first value of an expression, and how many there are. False: it cannot
// be evaluated.
func (p *prometheus) query(expression string) (first string, number int, ok bool) {
	p.t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	ok = p.get("/api/v1/query?query="+url.QueryEscape(expression), &data)
	if len(data.Result) > 0 {
		first = fmt.Sprint(data.Result[0].Value[1])
	}
	return first, len(data.Result), ok
}

func (p *prometheus) is(expression, value string) func() bool {
	return func() bool {
		first, _, ok := p.query(expression)
		return ok && first == value
	}
}

// firing are the alerts that fire.
func (p *prometheus) firing() map[string]bool {
	p.t.Helper()
	var data struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	p.get("/api/v1/alerts", &data)
	names := map[string]bool{}
	for _, alert := range data.Alerts {
		if alert.State == "firing" {
			names[alert.Labels["alertname"]] = true
		}
	}
	return names
}

// TestExampleOfPrometheus: examples/monitoring. A real Prometheus scrapes the engine
// through a real Vault, an alert fires when a role fails and ends when it is well, and
// the dashboard's queries have results.
func TestExampleOfPrometheus(t *testing.T) {
	t.Parallel()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("skipped: prometheus is not installed (Debian: apt-get install prometheus)")
	}
	s, app := shop(t, "10s")
	tokenFile := filepath.Join(t.TempDir(), "vault-token")
	token := s.scraper()
	writeFile(t, tokenFile, token)
	s.remember(token)
	p := s.startPrometheus(binary, tokenFile)
	s.eventually("Prometheus has scraped", p.is("auth0_roles", "1"))
	s.eventually("it says what it scrapes", p.is(`up{job="auth0-secrets"}`, "1"))

	clear := s.Tenant.Inject(tenant.Fault{Kind: tenant.ServerError, Status: 503, Endpoint: tenant.UpdateApplication, ClientID: app.ClientID})
	_, err = s.request(logical.UpdateOperation, "rotate/shop", map[string]any{"force": true})
	require.Error(t, err)
	s.eventually("the alert fires, and no other", func() bool {
		return maps.Equal(p.firing(), map[string]bool{"Auth0RotationFailing": true})
	})
	clear()
	s.eventually("the rotation comes through", p.is(`auth0_rotations_total{target="role"}`, "1"))
	s.eventually("the alert ends", func() bool { return len(p.firing()) == 0 })
	s.read("creds/shop")

	writeFile(t, tokenFile, "hvs.not-a-token")
	s.eventually("a token that is not valid", p.is("up", "0"))
	writeFile(t, tokenFile, s.scraper())
	s.eventually("a new one in the file", p.is("up", "1"))

	s.eventually("credentials were read", p.is(`auth0_credential_reads_total{path="creds"}`, "1"))
	for _, query := range dashboardQueries(t) {
		_, number, ok := p.query(query)
		assert.True(t, ok, query)
		assert.Positive(t, number, query)
	}
}

// dashboardQueries are the expressions of the dashboard, for all jobs.
func dashboardQueries(t *testing.T) []string {
	t.Helper()
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	require.NoError(t, json.Unmarshal([]byte(example(t, "monitoring/dashboard.json")), &dashboard))
	var queries []string
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries = append(queries, strings.NewReplacer("$job", ".*", "$__rate_interval", "1m").Replace(target.Expr))
		}
	}
	require.Greater(t, len(queries), 10)
	return queries
}
