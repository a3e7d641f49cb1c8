package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-auth0/internal/conformance"
	"vault-plugin-secrets-auth0/internal/tenant"
)

func TestMain(m *testing.M) {
	// One goroutine of a library runs from the start.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

func TestExitCodesAndWhatIsPrinted(t *testing.T) {
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	for name, test := range map[string]struct {
		ctx    context.Context
		change func(*tenant.Tenant, *conformance.Tenant)
		code   int
		out    string // in the table; "": there is none
		told   string
	}{
		"as assumed": {t.Context(), func(*tenant.Tenant, *conformance.Tenant) {}, exitAgrees, "| token-answer: agrees |", "token-answer"},
		"something differs": {t.Context(), func(tn *tenant.Tenant, _ *conformance.Tenant) {
			tn.Inject(tenant.Fault{Endpoint: tenant.RotateSecret, Kind: tenant.SecretMissingInAnswer})
		}, exitDiffers, "| secret-rotated: **differs** |", "secret-rotated"},
		"wrong secret": {t.Context(), func(_ *tenant.Tenant, c *conformance.Tenant) { c.ClientSecret = "another-secret" }, exitFailed, "", "401 access_denied"},
		"interrupted":  {interrupted, func(*tenant.Tenant, *conformance.Tenant) {}, exitFailed, "", "canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			tn, err := tenant.Start(tenant.Options{})
			require.NoError(t, err)
			t.Cleanup(tn.Close)
			credential := tn.AddManagementApplication(conformance.Scopes...)
			c := conformance.Tenant{
				Domain: tn.Domain(), ClientID: credential.ClientID, ClientSecret: credential.ClientSecret, CACert: tn.CACert(),
				Pace: time.Nanosecond, Poll: time.Millisecond, Promised: time.Millisecond,
			}
			test.change(tn, &c)
			var out, told bytes.Buffer
			assert.Equal(t, test.code, run(test.ctx, c, &out, &told), "%s%s", out.String(), told.String())
			assert.Contains(t, out.String(), test.out)
			assert.Equal(t, test.out == "", out.Len() == 0)
			assert.Contains(t, told.String(), test.told)
			for _, secret := range append(tn.EverySecret(), c.ClientSecret) {
				assert.NotContains(t, out.String()+told.String(), secret)
			}
			for line := range strings.Lines(out.String()) {
				assert.NotContains(t, line, "<", "Markdown would take it for HTML")
			}
		})
	}
}
