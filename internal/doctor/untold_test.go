package doctor

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// examineAt examines a server that answers as it likes.
func examineAt(t *testing.T, token string, clients http.HandlerFunc) (Report, int) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, token)
	})
	mux.HandleFunc("GET /api/v2/clients", clients)
	server := httptest.NewUnstartedServer(mux)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	var out, told bytes.Buffer
	code := Main(t.Context(), []string{
		"-domain=" + server.Listener.Addr().String(), "-client_id=engine", "-client_secret=the-secret", "-ca_cert=" + string(ca), "-format=json",
	}, "", Streams{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &told, Getenv: func(string) string { return "" }})
	var report Report
	require.NoError(t, json.Unmarshal(out.Bytes(), &report), told.String())
	return report, code
}

const withoutScope = `{"access_token":"the-token","token_type":"Bearer"}`

// TestWhatIsNotTold is not taken for a failure, nor for a no.
func TestWhatIsNotTold(t *testing.T) {
	report, code := examineAt(t, withoutScope, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		_, _ = io.WriteString(w, `{"clients":[{"client_id":"one"}]}`)
	})
	assert.Equal(t, ExitOK, code)
	assert.Equal(t, Warning, report.find(t, checkScopes).Status)
	assert.Contains(t, report.find(t, checkScopes).Message, "did not say")
	assert.Nil(t, report.Scopes[0].Granted)
	assert.Equal(t, Warning, report.find(t, checkRateLimit).Status)
	assert.Contains(t, report.find(t, checkRateLimit).Remedy, "proxy")
	assert.Nil(t, report.RateLimit)
	assert.Nil(t, report.Applications.Total)
	assert.Equal(t, 1, report.Applications.Unchecked)
}

// TestMoreApplicationsThanAuth0Lists, and a rate limit that is nearly used up.
func TestMoreApplicationsThanAuth0Lists(t *testing.T) {
	report, code := examineAt(t, withoutScope, func(w http.ResponseWriter, r *http.Request) {
		page := make([]string, pageSize)
		for i := range page {
			page[i] = fmt.Sprintf(`{"client_id":"app-%s-%d"}`, r.FormValue("page"), i)
		}
		w.Header().Set("X-RateLimit-Limit", "50")
		w.Header().Set("X-RateLimit-Remaining", "40")
		if r.FormValue("page") == "9" {
			w.Header().Set("X-RateLimit-Remaining", "4")
		}
		fmt.Fprintf(w, `{"total":1500,"clients":[%s]}`, strings.Join(page, ","))
	})
	assert.Equal(t, ExitOK, code)
	check := report.find(t, checkApplications)
	assert.Equal(t, Warning, check.Status)
	assert.Contains(t, check.Message, "the tenant has 1500, more than Auth0 lists")
	assert.Contains(t, check.Remedy, "-application")
	assert.Equal(t, maxListed, report.Applications.Checked)
	check = report.find(t, checkRateLimit)
	assert.Equal(t, Warning, check.Status)
	assert.Contains(t, check.Message, "only 4 are left")
	assert.Equal(t, 4, *report.RateLimit.Remaining)
}
