package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/doctor"
	"vault-plugin-secrets-auth0/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var mayCreate = []string{"create:clients", "create:client_grants", "read:clients", "delete:clients"}

// bench is a tenant and what a user has: a token.
type bench struct {
	*tenant.Tenant
	t     *testing.T
	token string
	ca    string
}

func newBench(t *testing.T, scopes ...string) *bench {
	t.Helper()
	tn, err := tenant.Start(tenant.Options{})
	require.NoError(t, err)
	t.Cleanup(tn.Close)
	b := &bench{Tenant: tn, t: t, token: tn.IssueToken(scopes...)}
	b.ca = b.file("ca.pem", tn.CACert())
	return b
}

func (b *bench) file(name, content string) string {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), name)
	require.NoError(b.t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// run runs the command, and gives the exit code and what was printed. On stderr
// there are never secrets.
func (b *bench) run(args ...string) (code int, out, told string) {
	b.t.Helper()
	var stdout, stderr bytes.Buffer
	environment := map[string]string{"AUTH0_DOMAIN": b.Domain(), "AUTH0_TOKEN": b.token}
	code = run(b.t.Context(), append([]string{"-ca-cert=@" + b.ca}, args...), streams{
		strings.NewReader(b.token), &stdout, &stderr, func(name string) string { return environment[name] },
	})
	for _, secret := range b.EverySecret() {
		assert.NotContains(b.t, stderr.String(), secret)
	}
	if b.token != "" {
		assert.NotContains(b.t, stdout.String(), b.token)
	}
	if code != 0 {
		assert.Empty(b.t, stdout.String(), "it would be piped into vault")
	}
	return code, stdout.String(), stderr.String()
}

// TestWhatItPrintsWorks: the doctor takes it, as config does, and is content.
func TestWhatItPrintsWorks(t *testing.T) {
	key, err := auth0.NewPrivateKey()
	require.NoError(t, err)
	keyed := append([]string{"create:client_credentials"}, mayCreate...)
	for name, test := range map[string]struct {
		token  []string
		args   []string
		scopes []string
		login  string
	}{
		"by default":              {mayCreate, nil, []string{"update:client_keys", "read:clients", "read:client_keys"}, "client secret"},
		"without reading secrets": {mayCreate, []string{"-without-reading-secrets"}, []string{"update:client_keys", "read:clients"}, "client secret"},
		"with a key": {keyed, []string{"-private-key=@KEY"}, append([]string{"update:client_keys", "read:clients", "read:client_keys"}, auth0.KeyScopes...),
			"private_key_jwt"},
		"with the least of tokens": {[]string{"create:clients", "create:client_grants"}, []string{"-token=-"},
			[]string{"update:client_keys", "read:clients", "read:client_keys"}, "client secret"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, test.token...)
			keyFile := b.file("key.pem", key)
			args := make([]string, len(test.args))
			for i, arg := range test.args {
				args[i] = strings.ReplaceAll(arg, "KEY", keyFile)
			}
			code, out, told := b.run(args...)
			require.Equal(t, 0, code, told)
			var config map[string]string
			require.NoError(t, json.Unmarshal([]byte(out), &config))
			assert.Equal(t, test.scopes, b.Scopes(config["client_id"]))
			app, there := b.Application(config["client_id"])
			require.True(t, there)
			assert.Equal(t, defaultName, app.Name)
			assert.Equal(t, "non_interactive", app.AppType)
			assert.Equal(t, []string{"client_credentials"}, app.GrantTypes)

			var report bytes.Buffer
			code = doctor.Main(t.Context(), []string{"-config=-"}, "", doctor.Streams{
				Stdin: strings.NewReader(out), Stdout: &report, Stderr: &report, Getenv: func(string) string { return "" },
			})
			assert.Equal(t, doctor.ExitOK, code, report.String())
			assert.Contains(t, report.String(), test.login)
		})
	}
}

func TestRefusesASecondOne(t *testing.T) {
	b := newBench(t, mayCreate...)
	code, _, _ := b.run()
	require.Equal(t, 0, code)
	code, _, told := b.run()
	assert.Equal(t, 1, code)
	assert.Contains(t, told, "already")
	code, _, told = b.run("-name=another")
	assert.Equal(t, 0, code, told)

	blind := newBench(t, "create:clients", "create:client_grants")
	for range 2 {
		code, _, told = blind.run()
		assert.Equal(t, 0, code)
		assert.Contains(t, told, "was not checked: the token lacks read:clients")
	}
}

// TestLeavesNothingHalfMade: an application without a grant is deleted again or,
// if that cannot be, named.
func TestLeavesNothingHalfMade(t *testing.T) {
	for name, test := range map[string]struct {
		token []string
		fault tenant.Fault
		says  []string
		left  int
	}{
		"grant not allowed": {[]string{"create:clients", "read:clients", "delete:clients"}, tenant.Fault{},
			[]string{"insufficient_scope", "create:client_grants", "deleted again"}, 0},
		"grant not allowed, nor to delete": {[]string{"create:clients", "read:clients"}, tenant.Fault{},
			[]string{"create:client_grants", "is left over", "delete:clients"}, 1},
		"grant unclear": {mayCreate, tenant.Fault{Endpoint: tenant.CreateGrant, Kind: tenant.ResetAfterCommit},
			[]string{"could not be authorised", "deleted again"}, 0},
		"no secret shown": {mayCreate, tenant.Fault{Endpoint: tenant.CreateApplication, Kind: tenant.SecretMissingInAnswer},
			[]string{"read:client_keys", "deleted again"}, 0},
		"creation unclear": {mayCreate, tenant.Fault{Endpoint: tenant.CreateApplication, Kind: tenant.ResetAfterCommit},
			[]string{"may have been made all the same"}, 1},
		"creation not allowed": {[]string{"read:clients"}, tenant.Fault{},
			[]string{"insufficient_scope", "create:clients"}, 0},
		"limited": {mayCreate, tenant.Fault{Endpoint: tenant.CreateApplication, Kind: tenant.RateLimited},
			[]string{"429 too_many_requests"}, 0},
		"a proxy": {mayCreate, tenant.Fault{Endpoint: tenant.AnyManagement, Kind: tenant.HTMLFromProxy},
			[]string{"something other than Auth0 answered (502, text/html"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, test.token...)
			if test.fault.Kind != "" {
				b.Inject(test.fault)
			}
			code, _, told := b.run()
			assert.Equal(t, 1, code)
			for _, says := range test.says {
				assert.Contains(t, told, says)
			}
			assert.Len(t, b.EverySecret(), test.left+1, "and the token")
		})
	}
}

func TestWrongUsage(t *testing.T) {
	b := newBench(t, mayCreate...)
	for says, args := range map[string][]string{
		"no flag precedes":         {"secret-argument"},
		"without scheme and path":  {"-domain=https://example.eu.auth0.com"},
		"are @file":                {"-token=secret-argument"},
		"exclude each other":       {"-without-reading-secrets", "-private-key=@" + b.file("key", "x")},
		"not in PEM":               {"-private-key=@" + b.file("key", "x")},
		"-name is empty":           {"-name="},
		"no such file":             {"-token=@/nowhere/token"},
		"flag provided but not de": {"-surprise"},
	} {
		code, _, told := b.run(args...)
		assert.Equal(t, 2, code, says)
		assert.Contains(t, told, says)
		assert.NotContains(t, told, "secret-argument")
	}
	assert.Empty(t, b.Journal())
	b.token = ""
	code, _, told := b.run()
	assert.Equal(t, 2, code)
	assert.Contains(t, told, "API Explorer")
}

// TestRefusalsAreAuth0sOwn: after anything else it is not known what was done.
func TestRefusalsAreAuth0sOwn(t *testing.T) {
	a := &api{token: "the-token"}
	answer := &http.Response{StatusCode: http.StatusForbidden}
	require.ErrorAs(t, a.refused(answer, []byte(`{"statusCode":403,"message":"no: the-token","errorCode":"insufficient_scope"}`)), new(*refusal))
	assert.NotContains(t, a.refused(answer, []byte(`{"statusCode":403,"message":"no: the-token"}`)).Error(), "the-token")
	for _, body := range []string{`{"message":"blocked by the firewall"}`, `{"statusCode":404,"message":"no"}`, `<html>`, ``} {
		err := a.refused(answer, []byte(body))
		assert.NotErrorAs(t, err, new(*refusal), body)
		assert.Contains(t, err.Error(), "something other than Auth0")
	}
	answer.StatusCode = http.StatusBadGateway
	assert.NotErrorAs(t, a.refused(answer, []byte(`{"statusCode":502,"message":"no"}`)), new(*refusal))
}

// TestAFileWithNothingInItIsRefused: a key that is not there would make an application
// that authenticates in another way.
func TestAFileWithNothingInItIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, args := range [][]string{{"-private-key=@" + file}, {"-token=-", "-private-key=-"}} {
		_, err := readOrder(append(args, "-domain=example.eu.auth0.com"), streams{
			in: strings.NewReader("a-token-of-the-tenant"), out: io.Discard, err: io.Discard, getenv: func(string) string { return "a-token-of-the-tenant" },
		})
		assert.ErrorContains(t, err, "-private-key: there is nothing in it")
	}
}
