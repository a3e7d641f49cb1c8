package devstack

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLoginThatMeetsASwitchInTheMiddle: the new secret is refused as not there
// yet, arrives, and the old one is refused as not there any more.
func TestLoginThatMeetsASwitchInTheMiddle(t *testing.T) {
	accepted := "old"
	var attempts, last []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secret := r.FormValue("client_secret")
		attempts = append(attempts, secret)
		if r.Header.Get("X-Login-Last") != "" {
			last = append(last, secret)
		}
		if secret != accepted {
			w.WriteHeader(http.StatusUnauthorized)
		}
		accepted = "new"
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "credentials.json")
	text, err := json.Marshal(Credentials{
		Domain: strings.TrimPrefix(server.URL, "https://"), ClientID: "app", ClientSecrets: []string{"new", "old"},
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, text, 0o600))
	app := &Application{File: file, HTTP: server.Client()}
	app.login(t.Context())
	assert.Equal(t, []string{"new", "old", "new"}, attempts)
	assert.Empty(t, last, "it was not the last attempt that was accepted")
	accepted, attempts = "none", nil
	app.login(t.Context())
	assert.Equal(t, []string{"new", "old", "new"}, attempts[:3])
}
