package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// ward is a tenant with one application of each sort.
func ward(t *testing.T, scopes ...string) *patient {
	p := newPatient(t, tenant.Options{RateLimit: tenant.RateLimit{PerSecond: 16, Burst: 50}}, scopes...)
	id := func(n int) string { return fmt.Sprintf("%032d", n) }
	p.AddApplication(tenant.Application{ClientID: id(1), Name: "shop", Shape: tenant.Full})
	p.AddApplication(tenant.Application{ClientID: id(2), Name: "old shop", Alg: "HS256", Shape: tenant.Full, ThirdParty: true})
	p.AddApplication(tenant.Application{ClientID: id(3), Name: "single page", AppType: "spa"})
	p.AddApplication(tenant.Application{ClientID: id(4), Name: "All Applications", Global: true})
	p.addKeyApplication(tenant.Application{ClientID: id(5), Name: "with a key"}, 1)
	p.AddApplication(tenant.Application{ClientID: id(6), Name: "a name\x1b[2J that is long and moves the cursor", Shape: tenant.Bare})
	return p
}

// masks are what differs each time.
var masks = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "<domain>"},
	{regexp.MustCompile(`"(reset|[a-z]+_seconds)": [^,\n]+`), `"$1": "<differs>"`},
	{regexp.MustCompile(`of which \d+ are left|"remaining": \d+`), "<remaining>"},
}

// TestReports compares all that is printed with what is in testdata: the JSON
// form is a promise, and the table is to be read in a narrow window.
// UPDATE_GOLDEN=1 writes the files anew.
func TestReports(t *testing.T) {
	for _, format := range []string{"json", "table"} {
		t.Run(format, func(t *testing.T) {
			p := ward(t, append(allScopes, "read:users")...)
			_, r := p.check()
			if format == formatTable {
				r = p.run(p.environment(), "", "-ca_cert=@"+p.file("ca.pem", p.CACert()))
			}
			require.Equal(t, ExitOK, r.code, r.out+r.errors)
			assert.Empty(t, r.errors)
			got := strings.ReplaceAll(r.out, p.engine.ClientID, strings.Repeat("e", len(p.engine.ClientID)))
			for _, mask := range masks {
				got = mask.pattern.ReplaceAllString(got, mask.by)
			}
			golden := "testdata/report." + format
			if os.Getenv("UPDATE_GOLDEN") != "" {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			assert.Equal(t, string(want), got)
			for line := range strings.Lines(r.out) {
				assert.NotContains(t, line, "\x1b")
				if format == formatTable {
					assert.LessOrEqual(t, utf8.RuneCountInString(line), 100, line)
				}
			}
			for request := range p.Stats().Requests {
				assert.True(t, strings.HasPrefix(request, "GET ") || request == "POST /oauth/token 200", "%s: nothing is changed", request)
			}
		})
	}
}

// TestScopes: each missing scope is told with what does not work, and only the
// required one is a failure.
func TestScopes(t *testing.T) {
	for name, test := range map[string]struct {
		granted []string
		code    int
		status  Status
		missing []string
	}{
		"all":                    {allScopes, ExitOK, OK, nil},
		"keys cover the secrets": {[]string{"update:client_keys", "read:clients", "read:client_credentials"}, ExitOK, OK, nil},
		"without secrets":        {[]string{"update:client_keys", "read:clients"}, ExitOK, Warning, []string{"read:client_keys"}},
		"writes only":            {[]string{"update:client_keys"}, ExitOK, Warning, []string{"read:clients", "read:client_keys"}},
		"reads only":             {[]string{"read:clients", "read:client_keys"}, ExitFailed, Failed, []string{"update:client_keys"}},
		"none":                   {[]string{}, ExitFailed, Failed, allScopes},
	} {
		t.Run(name, func(t *testing.T) {
			report, r := newPatient(t, tenant.Options{}, test.granted...).check()
			assert.Equal(t, test.code, r.code)
			assert.Equal(t, test.code == ExitOK, report.OK)
			check := report.find(t, checkScopes)
			assert.Equal(t, test.status, check.Status)
			var missing []string
			for _, scope := range report.Scopes {
				if scope.Needed && !*scope.Granted {
					missing = append(missing, scope.Name)
					assert.Contains(t, check.Message, scope.Name)
					assert.NotEmpty(t, scope.Without)
				}
			}
			assert.Equal(t, test.missing, missing)
			assert.Equal(t, len(missing) > 0, check.Remedy != "")
			assert.Equal(t, OK, report.find(t, checkAPI).Status)
			assert.Equal(t, OK, report.find(t, checkRateLimit).Status)
		})
	}

	t.Run("with a key", func(t *testing.T) {
		p, key := newPatientWithKey(t, tenant.Options{}, allScopes...)
		report, r := p.check("-private_key=@" + p.file("key.pem", key))
		assert.Equal(t, ExitOK, r.code)
		assert.Contains(t, report.find(t, checkLogin).Message, "private_key_jwt")
		assert.Equal(t, Warning, report.find(t, checkScopes).Status)
		assert.Contains(t, report.find(t, checkScopes).Message, "delete:client_credentials")
	})
}

// TestWhatIsWrong: each fault is told in a line, with what to do about it.
func TestWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		fault        tenant.Fault
		change       func(p *patient)
		args         []string
		check        string
		says, remedy string
	}{
		"wrong secret": {args: []string{"-client_secret=wrong-secret"}, check: checkLogin,
			says: "401 access_denied", remedy: "Check client ID and client secret"},
		"unknown client": {args: []string{"-client_id=nobody"}, check: checkLogin,
			says: "401 access_denied", remedy: "Check client ID"},
		"unknown audience": {args: []string{"-audience=https://login.example.com/api/v2/"}, check: checkLogin,
			says: "there is no API with this audience", remedy: "https://login.example.com/api/v2/"},
		"not authorised": {change: func(p *patient) { p.engine = p.AddApplication(tenant.Application{}) }, check: checkLogin,
			says: "has no grant for this API", remedy: "Authorise the application"},
		"grant type": {change: func(p *patient) {
			p.UpdateApplication(p.engine.ClientID, func(a *tenant.Application) { a.GrantTypes = []string{"implicit"} })
		}, check: checkLogin, says: "unauthorized_client", remedy: "grant type client_credentials"},
		"untrusted certificate": {args: []string{"-ca_cert="}, check: checkLogin,
			says: "certificate is signed by an unknown authority", remedy: "-ca_cert"},
		"certificate for others": {args: otherHost(t), check: checkLogin,
			says: "certificate is for other hosts", remedy: "typing error"},
		"no such host": {args: []string{"-domain=nowhere.invalid"}, check: checkLogin,
			says: "there is no such host", remedy: "DNS"},
		"nobody listens": {args: []string{"-domain=127.0.0.1:1"}, check: checkLogin,
			says: "connection refused", remedy: "HTTPS_PROXY"},
		"a proxy answers the login": {fault: tenant.Fault{Endpoint: tenant.Token, Kind: tenant.HTMLFromProxy, Status: 403}, check: checkLogin,
			says: "something other than Auth0 answered", remedy: "proxy or firewall"},
		"a proxy answers the API": {fault: tenant.Fault{Endpoint: tenant.AnyManagement, Kind: tenant.HTMLFromProxy}, check: checkAPI,
			says: "something other than Auth0 answered", remedy: "proxy or firewall"},
		"login limited": {fault: tenant.Fault{Endpoint: tenant.Token, Kind: tenant.RateLimited, RetryAfter: 2 * time.Minute}, check: checkLogin,
			says: "limits the rate (429), retry in 1m0s", remedy: "Wait that long"},
		"API limited": {fault: tenant.Fault{Endpoint: tenant.AnyManagement, Kind: tenant.RateLimited, RetryAfter: 2 * time.Minute}, check: checkAPI,
			says: "limits the rate (429), retry in 1m0s", remedy: "Wait that long"},
		"Auth0 broken": {fault: tenant.Fault{Endpoint: tenant.AnyManagement, Kind: tenant.ServerError, Status: 503}, check: checkAPI,
			says: "(503)", remedy: "status.auth0.com"},
		"not JSON": {fault: tenant.Fault{Endpoint: tenant.AnyManagement, Kind: tenant.NotJSON}, check: checkAPI,
			says: "not a list of clients", remedy: "a proxy may change answers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, tenant.Options{}, allScopes...)
			if test.change != nil {
				test.change(p)
			}
			if test.fault.Kind != "" {
				p.Inject(test.fault)
			}
			report, r := p.check(test.args...)
			assert.Equal(t, ExitFailed, r.code)
			assert.False(t, report.OK)
			check := report.find(t, test.check)
			assert.Equal(t, Failed, check.Status)
			assert.Contains(t, check.Message, test.says)
			assert.Contains(t, check.Remedy, test.remedy)
			assert.Equal(t, Skipped, report.find(t, checkApplications).Status)
			if test.fault.Kind == tenant.RateLimited {
				assert.Equal(t, 1, p.Stats().RateLimited, "asked again after a wait that is too long")
			}
		})
	}
}

// TestNoAnswerInTime: what to do about it says how long the doctor has waited.
func TestNoAnswerInTime(t *testing.T) {
	e := &examination{settings: &settings{Connection: requirements.Connection{Domain: "example.eu.auth0.com", RequestTimeout: 20 * time.Second}}}
	message, remedy := e.explain(&auth0.Error{Op: "list applications", Message: auth0.ReasonLate})
	assert.Equal(t, "list applications: no clear answer from Auth0: no answer in time", message)
	assert.Contains(t, remedy, "No answer within 20s")
}

// otherHost serves TLS with a certificate that is not for its address. It gives
// the arguments to go there and trust it.
func otherHost(t *testing.T) []string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"other.example"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "other.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return []string{"-domain=" + server.Listener.Addr().String(), "-ca_cert=@" + file}
}

// TestGoesOnAfterTheRateLimit that does not say to wait long.
func TestGoesOnAfterTheRateLimit(t *testing.T) {
	p := ward(t, allScopes...)
	p.Inject(tenant.Fault{Endpoint: tenant.AnyManagement, Kind: tenant.RateLimited, RetryAfter: time.Second, Times: 1})
	report, r := p.check()
	assert.Equal(t, ExitOK, r.code)
	assert.Equal(t, 7, report.Applications.Checked)
	assert.Equal(t, 1, p.Stats().RateLimited)
}

func TestNamedApplications(t *testing.T) {
	p := ward(t, allScopes...)
	fit, warned, unfit := fmt.Sprintf("%032d", 1), fmt.Sprintf("%032d", 2), fmt.Sprintf("%032d", 3)
	report, r := p.check("-application=" + fit + "," + warned)
	assert.Equal(t, ExitOK, r.code)
	assert.Equal(t, 2, report.Applications.Checked)
	assert.Equal(t, Warning, report.find(t, checkApplications).Status)

	report, r = p.check("-application="+fit, "-application="+unfit)
	assert.Equal(t, ExitFailed, r.code, "what was asked for cannot be a role")
	assert.Equal(t, 1, report.Applications.Unfit)
	assert.Equal(t, []string{"it is public (app_type spa), so it has no client secret to rotate"}, report.Applications.List[1].Reasons)

	report, r = p.check("-application=nobody")
	assert.Equal(t, ExitFailed, r.code)
	assert.Contains(t, report.Applications.List[0].Reasons[0], "does not exist")
	assert.Equal(t, OK, report.find(t, checkAPI).Status)

	report, r = p.check("-application=" + p.engine.ClientID)
	assert.Equal(t, ExitFailed, r.code)
	assert.Contains(t, report.Applications.List[0].Reasons[0], "the engine's own")

	p.SetScopes(p.engine.ClientID, "update:client_keys", "read:client_credentials")
	report, r = p.check("-application=" + fit)
	assert.Equal(t, ExitOK, r.code, "what could not be seen is not taken for a no")
	assert.Equal(t, Unchecked, report.Applications.List[0].Verdict)
}

// TestApplicationsWithKeys: each can be a role of keys if there is a free place, and
// the scopes for it.
func TestApplicationsWithKeys(t *testing.T) {
	for name, test := range map[string]struct {
		granted []string
		keys    int
		addOn   bool
		verdict Verdict
		says    []string
	}{
		"one key":           {keyScopes, 1, false, FitWithWarnings, []string{"make a role with credential_type=private_key: it uses 1,"}},
		"no place":          {keyScopes, 2, false, Unfit, []string{"it uses 2 keys, which leaves no room"}},
		"a place by add-on": {keyScopes, 3, true, FitWithWarnings, []string{"make a role with credential_type=private_key: it uses 3,"}},
		"no place, add-on":  {keyScopes, 4, true, Unfit, []string{"it uses 4 keys, which leaves no room"}},
		"no keys are shown": {keyScopes, 0, false, Unchecked, []string{"does not show how many keys"}},
		"no scopes":         {allScopes, 1, false, FitWithWarnings, []string{"it uses 1,", "needs read:client_credentials, create:client_credentials, "}},
		"one scope missing": {keyScopes[:len(keyScopes)-1], 1, false, FitWithWarnings, []string{"it uses 1,", "needs delete:client_credentials, which"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPatient(t, tenant.Options{}, test.granted...)
			p.SetCredentialAddOn(test.addOn)
			p.addKeyApplication(tenant.Application{ClientID: "keyed"}, test.keys)
			report, r := p.check("-application=keyed")
			assert.Equal(t, test.verdict == Unfit, r.code == ExitFailed)
			app := report.Applications.List[0]
			assert.Equal(t, test.verdict, app.Verdict)
			assert.Equal(t, "private_key", app.CredentialType)
			require.Len(t, app.Reasons, len(test.says))
			for i, says := range test.says {
				assert.Contains(t, app.Reasons[i], says)
			}
			scopes := report.find(t, checkScopes)
			assert.Equal(t, OK, scopes.Status, "who uses no keys is not warned")
			assert.Equal(t, len(test.granted) == len(keyScopes), scopes.Message == "all that the engine can use are granted", scopes.Message)
		})
	}
}

// TestClocks: a difference is told with what it breaks.
func TestClocks(t *testing.T) {
	shifted := func(by time.Duration) tenant.Options {
		return tenant.Options{Now: func() time.Time { return time.Now().Add(by) }}
	}
	for name, test := range map[string]struct {
		by   time.Duration
		says string
	}{
		"behind": {30 * time.Minute, "behind Auth0's"},
		"ahead":  {-30 * time.Minute, "ahead of Auth0's"},
	} {
		t.Run(name, func(t *testing.T) {
			report, r := newPatient(t, shifted(test.by), allScopes...).check()
			assert.Equal(t, ExitOK, r.code, "a client secret does not need the time")
			check := report.find(t, checkClock)
			assert.Equal(t, Warning, check.Status)
			assert.Contains(t, check.Message, test.says)
			assert.Contains(t, check.Remedy, "NTP")
			assert.InDelta(t, test.by.Seconds(), report.Clock.Ahead, (20 * time.Minute).Seconds())

			p, key := newPatientWithKey(t, shifted(test.by), allScopes...)
			report, r = p.check("-private_key=@" + p.file("key.pem", key))
			assert.Equal(t, ExitFailed, r.code)
			assert.Contains(t, report.find(t, checkLogin).Remedy, "that alone makes Auth0 refuse the key")
			assert.Equal(t, Warning, report.find(t, checkClock).Status, "it is told though there was no login")
		})
	}
}

// TestProgress goes to a terminal only.
func TestProgress(t *testing.T) {
	p := newPatient(t, tenant.Options{}, allScopes...)
	for range 250 {
		p.AddApplication(tenant.Application{})
	}
	report, r := p.check()
	assert.Equal(t, 251, report.Applications.Checked)
	assert.Equal(t, 251, *report.Applications.Total)
	assert.Empty(t, r.errors)

	p.terminal = true
	_, r = p.check()
	assert.Equal(t, "\r\x1b[Klogging in to "+p.Domain()+
		"\r\x1b[Kchecked 100 of 251 applications\r\x1b[Kchecked 200 of 251 applications\r\x1b[K", r.errors)
}

func TestInterrupted(t *testing.T) {
	p := newPatient(t, tenant.Options{}, allScopes...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errors strings.Builder
	code := Main(ctx, []string{"-domain=" + p.Domain(), "-client_id=x", "-client_secret=y"}, "", Streams{
		Stdout: &out, Stderr: &errors, Getenv: func(string) string { return "" },
	})
	assert.Equal(t, ExitFailed, code)
	assert.Empty(t, out.String())
	assert.Equal(t, "doctor: interrupted\n", errors.String())
}

// TestNoReportNoSuccess: absurd times in headers do not keep the report from being
// printed, and what cannot be printed is a failure.
func TestNoReportNoSuccess(t *testing.T) {
	for _, reset := range []string{"1795000000", "7258118400", "253402300800", "9223372036854775807", "-1", "NaN"} {
		p := newPatient(t, tenant.Options{}, allScopes...)
		p.Inject(tenant.Fault{Endpoint: tenant.AnyManagement, Kind: tenant.Headers, Headers: map[string]string{
			"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "49", "X-RateLimit-Reset": reset,
		}})
		report, r := p.check()
		assert.Equal(t, ExitOK, r.code, reset)
		assert.NotEmpty(t, report.Checks, reset)
	}
	year10000 := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	require.Error(t, print(io.Discard, formatJSON, &Report{RateLimit: &RateLimit{Reset: &year10000}}))
}
