package doctor

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/tenant"
)

// TestSources: a flag comes before -config, and that before the environment.
func TestSources(t *testing.T) {
	p := newPatient(t, tenant.Options{}, allScopes...)
	ca := "-ca_cert=@" + p.file("ca.pem", p.CACert())
	id, secret := p.engine.ClientID, p.engine.ClientSecret
	config := `{"domain":"` + p.Domain() + `","client_id":"` + id + `","client_secret":"` + secret + `","request_timeout":20,"rotation_period":"720h"}`
	wrong := map[string]string{"AUTH0_DOMAIN": "127.0.0.1:1", "AUTH0_CLIENT_ID": "wrong", "AUTH0_CLIENT_SECRET": "wrong-secret"}

	assert.Equal(t, ExitOK, p.run(p.environment(), "", ca).code)
	assert.Equal(t, ExitOK, p.run(wrong, "", ca, "-domain="+p.Domain(), "-client_id="+id, "-client_secret="+secret).code)
	assert.Equal(t, ExitOK, p.run(wrong, config, ca, "-config=-").code)
	assert.Equal(t, ExitOK, p.run(wrong, "", ca, "-config=@"+p.file("config.json", config)).code)
	assert.Equal(t, ExitOK, p.run(p.environment(), secret, ca, "-client_secret=-").code)
	assert.Equal(t, ExitFailed, p.run(p.environment(), config, ca, "-config=-", "-client_secret=wrong-secret").code)
	assert.Equal(t, ExitFailed, p.run(wrong, "", ca).code)

	r := p.run(p.environment(), secret+"\n", ca, "-client_secret=-")
	assert.Equal(t, ExitOK, r.code)
	assert.Contains(t, r.out, "there is a line break", "the engine would refuse it")
}

// TestSecretWithAnAt can be given as to the vault command.
func TestSecretWithAnAt(t *testing.T) {
	p := newPatient(t, tenant.Options{}, allScopes...)
	p.SetSecretInDashboard(p.engine.ClientID, "@secret")
	assert.Equal(t, ExitOK, p.run(p.environment(), "", "-ca_cert=@"+p.file("ca.pem", p.CACert()), `-client_secret=\@secret`).code)
}

func TestWrongUsage(t *testing.T) {
	p := newPatient(t, tenant.Options{}, allScopes...)
	p.secret = []string{"a-secret"}
	for name, test := range map[string]struct {
		args  []string
		stdin string
		says  string
	}{
		"unknown flag":       {[]string{"-surprise"}, "", "-surprise"},
		"argument":           {[]string{"a-secret"}, "", "not of the form -name=value"},
		"no domain":          {[]string{"-domain="}, "", "domain is missing"},
		"no client":          {[]string{"-client_id="}, "", "client_id is missing"},
		"no secret":          {[]string{"-client_secret="}, "", "client_secret or private_key is missing"},
		"domain with scheme": {[]string{"-domain=https://example.eu.auth0.com"}, "", "without scheme and path"},
		"bad client":         {[]string{"-client_id=a/b"}, "", "not a client ID"},
		"bad application":    {[]string{"-application=a/b"}, "", "-application"},
		"both":               {[]string{"-client_secret=a-secret", "-private_key=a-secret"}, "", "exclude each other"},
		"algorithm, no key":  {[]string{"-signing_algorithm=RS256"}, "", "only for use with private_key"},
		"bad algorithm":      {[]string{"-private_key=a-secret", "-signing_algorithm=HS256"}, "", "RS256, RS384, PS256"},
		"bad key":            {[]string{"-private_key=a-secret"}, "", "not in PEM"},
		"bad CA":             {[]string{"-ca_cert=x"}, "", "no PEM certificate"},
		"bad timeout":        {[]string{"-request_timeout=soon"}, "", "not a duration"},
		"long timeout":       {[]string{"-request_timeout=1h"}, "", "between 1s and 1m"},
		"bad format":         {[]string{"-format=yaml"}, "", "table or json"},
		"no such file":       {[]string{"-client_secret=@/nowhere/secret"}, "", "/nowhere/secret"},
		"stdin twice":        {[]string{"-client_secret=-", "-config=-"}, "a-secret", "once only"},
		"config not JSON":    {[]string{"-config=-"}, "a-secret", "not a JSON object"},
		"config of others":   {[]string{"-config=-"}, `{"secret":"a-secret"}`, `"secret"`},
		"config with a list": {[]string{"-config=-"}, `{"domain":["a-secret"]}`, "domain is neither text"},
		"config without @":   {[]string{"-config=a-secret"}, "", "(@file)"},
	} {
		t.Run(name, func(t *testing.T) {
			r := p.run(p.environment(), test.stdin, test.args...)
			assert.Equal(t, ExitUsage, r.code)
			assert.Empty(t, r.out)
			assert.Contains(t, r.errors, test.says)
			assert.Contains(t, r.errors, "doctor -h")
		})
	}
	assert.Empty(t, p.Stats().Requests, "nobody was asked")
}

func TestHelpTellsEverything(t *testing.T) {
	p := newPatient(t, tenant.Options{})
	r := p.run(p.environment(), "", "-h")
	assert.Equal(t, ExitOK, r.code)
	for _, field := range connectionFields {
		assert.Contains(t, r.out, "\n  -"+field+"=")
	}
	for _, other := range []string{"-config=", "-application=", "-format=", "VAULT_FORMAT", "Exit codes"} {
		assert.Contains(t, r.out, other)
	}
	for line := range strings.Lines(r.out) {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 80, line)
	}
	assert.Contains(t, p.run(map[string]string{"VAULT_FORMAT": "json", "AUTH0_DOMAIN": "127.0.0.1:1", "AUTH0_CLIENT_ID": "x", "AUTH0_CLIENT_SECRET": "wrong"}, "").out, `"ok": false`)
}

// TestUnwritableOutputIsAFailure: who reads the exit code only must not take
// half a report for a whole one.
func TestUnwritableOutputIsAFailure(t *testing.T) {
	p := newPatient(t, tenant.Options{}, allScopes...)
	environment := p.environment()
	var told strings.Builder
	code := Main(t.Context(), []string{"-ca_cert=@" + p.file("ca.pem", p.CACert())}, "", Streams{
		Stdout: fullDisk{}, Stderr: &told, Getenv: func(name string) string { return environment[name] },
	})
	require.Equal(t, ExitFailed, code)
	assert.Contains(t, told.String(), "disk full")
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// TestEmptyItemsOfAListOfApplicationsAreNone, as of a shell's or a program's list that ends in a comma.
func TestEmptyItemsOfAListOfApplicationsAreNone(t *testing.T) {
	args := []string{"-domain=a.auth0.com", "-client_id=engine", "-client_secret=s", "-application=one,", "-application=two,,three"}
	s, err := readSettings(args, nil, func(string) string { return "" })
	require.NoError(t, err)
	assert.Equal(t, []string{"one", "three", "two"}, s.applications)
}
