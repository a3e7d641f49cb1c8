package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What it prints is enough to log in, and it ends cleanly when it is told to.
func TestPrintsWhatIsNeededToLogIn(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-ca-out", ca, "-apps", "2", "-scopes", "read:clients", "-every", "0"}, writer)
		_ = writer.Close()
		ended <- err
	}()

	lines := bufio.NewScanner(reader)
	printed := ""
	for strings.Count(printed, "\napplication") < 2 {
		require.True(t, lines.Scan(), "ended early: %s", printed)
		printed += lines.Text() + "\n"
	}
	find := func(expression string) []string {
		found := regexp.MustCompile(expression).FindStringSubmatch(printed)
		require.NotNil(t, found, "%s in %s", expression, printed)
		return found
	}
	assert.Contains(t, printed, "SIMULATED")
	domain := find(`domain +(\S+)`)[1]
	app := find(`application +client_id=(\S+) client_secret=(\S+)`)
	engine := find(`management +client_id=(\S+) client_secret=(\S+)`)

	pem, err := os.ReadFile(ca)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(pem))
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}}
	api := find(`api +(\S+) scope=(\S+)`)
	logIn := func(id, secret, audience string) int {
		answer, err := client.PostForm("https://"+domain+"/oauth/token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}, "audience": {audience},
		})
		require.NoError(t, err)
		defer answer.Body.Close()
		if audience == api[1] {
			var token struct{ Scope string }
			require.NoError(t, json.NewDecoder(answer.Body).Decode(&token))
			assert.Equal(t, api[2], token.Scope)
		}
		return answer.StatusCode
	}
	assert.Equal(t, http.StatusOK, logIn(app[1], app[2], api[1]))
	assert.Equal(t, http.StatusOK, logIn(engine[1], engine[2], "https://"+domain+"/api/v2/"))

	// An application that tries a secret of earlier first, and says nothing of it.
	assert.Equal(t, http.StatusUnauthorized, logIn(app[1], "of earlier", ""))
	assert.Equal(t, http.StatusOK, logIn(app[1], app[2], ""))

	cancel()
	require.True(t, lines.Scan())
	assert.Contains(t, lines.Text(), "logins: 2 accepted (1 of them with a fallback), 0 refused, 0 undecided; tokens: 2 for the API, 1 for management;", "the last line has the counts")
	assert.NoError(t, <-ended)
}

func TestRefusesWhatItCannotDo(t *testing.T) {
	for _, args := range [][]string{
		{"-mode", "sideways"}, {"extra"}, {"-addr", "0.0.0.0:0"},
		{"-ca-out", filepath.Join(t.TempDir(), "missing", "ca.pem")},
	} {
		assert.Error(t, run(t.Context(), args, io.Discard), "%v", args)
	}
}
