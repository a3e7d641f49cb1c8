package proxy

import (
	"context"
	"errors"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// metrics gives the samples by name and labels.
func (w *world) metrics() map[string]string {
	w.t.Helper()
	answer := recorded(w.proxy.Metrics(), httptest.NewRequest("GET", "/metrics", nil))
	require.Equal(w.t, 200, answer.Code)
	text := answer.Body.String()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	_, err := parser.TextToMetricFamilies(strings.NewReader(text))
	require.NoError(w.t, err)
	assert.NotContains(w.t, text, local)
	assert.NotContains(w.t, text, w.shop.ClientID)
	for _, secret := range w.secrets() {
		assert.NotContains(w.t, text, secret)
	}
	samples := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^auth0_login_proxy_(\S+) (\d+)$`).FindAllStringSubmatch(text, -1) {
		samples[match[1]] = match[2]
	}
	return samples
}

// TestMetricsCountEachOutcome once.
func TestMetricsCountEachOutcome(t *testing.T) {
	w := newWorld(t)
	for name, make := range map[string]func(){
		"accepted":           func() { w.post("/oauth/token", w.form(local)) },
		"wrong_local_secret": func() { w.post("/oauth/token", w.form("wrong")) },
		"invalid":            func() { w.post("/oauth/token", w.form(local)+"&client_id=x") },
		"other_application":  func() { w.post("/oauth/token", "client_id=other") },
		"passed_on":          func() { w.post("/oauth/token", w.form(local, "grant_type", "")) },
		"refused": func() {
			w.source.set("dead")
			w.post("/oauth/token", w.form(local))
			w.source.set(w.shop.ClientSecret)
		},
		"no_credentials": func() {
			w.source.fail(errors.New("gone"))
			w.post("/oauth/token", w.form(local))
			assert.Equal(t, "0", w.metrics()["credentials_readable"])
			w.source.fail(nil)
		},
		"unreachable": func() {
			w.tenant.SetDown(true)
			w.post("/oauth/token", w.form(local))
			w.tenant.SetDown(false)
		},
	} {
		before := w.metrics()
		make()
		after := w.metrics()
		for _, other := range outcomeNames {
			label := `logins_total{outcome="` + other + `"}`
			n, err := strconv.Atoi(before[label])
			require.NoError(t, err)
			if other == name {
				n++
			}
			assert.Equal(t, strconv.Itoa(n), after[label], "%s: %s", name, other)
		}
	}
	assert.Equal(t, "0", w.metrics()["logins_fell_back_total"])
	w.rotate("rotated")
	w.source.set(w.shop.ClientSecret, "rotated")
	w.post("/oauth/token", w.form(local))
	w.post("/oauth/token", w.form(local))
	got := w.metrics()
	assert.Equal(t, "1", got["logins_fell_back_total"])
	assert.Equal(t, "1", got["applications"])
	assert.Equal(t, "1", got["credentials_readable"])
	assert.NotEmpty(t, got[`requests_total{kind="login",status="2xx"}`])
	assert.NotEmpty(t, got[`requests_total{kind="login",status="5xx"}`])
}

// TestAClientThatHasLeftIsCountedAsSuch, whether it leaves while its login waits or while
// the credentials are read.
func TestAClientThatHasLeftIsCountedAsSuch(t *testing.T) {
	w := newWorld(t)
	w.logIn(1)
	w.source.fail(context.Canceled)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	for range 20 { // which of the two is up to chance
		r := w.request("POST", "/oauth/token", w.form(local), "Content-Type", formType)
		assert.Equal(t, 5, recorded(w.proxy, r.WithContext(ctx)).Code/100)
	}
	assert.Equal(t, "20", w.metrics()[`logins_total{outcome="abandoned"}`])
}
