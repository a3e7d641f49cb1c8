package auth0secrets

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/answers"
	"vault-plugin-secrets-auth0/internal/auth0"
)

// metrics are the values of path metrics, by name and labels in order:
// auth0_roles_in_phase{steady}.
func (env *testEnv) metrics() map[string]float64 {
	env.t.Helper()
	values := map[string]float64{}
	for name, family := range answers.Metrics(env.t, env.read("metrics")) {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetValue())
			}
			key := name
			if labels != nil {
				key += "{" + strings.Join(labels, ",") + "}"
			}
			values[key] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return values
}

// metricsOfStatus is what metrics has to say where status says this.
func metricsOfStatus(status map[string]any) map[string]float64 {
	expected := map[string]float64{
		metricRoles: float64(status[fieldRoles].(int)), metricRolesOverdue: float64(status[fieldOverdue].(int)),
		metricRolesFailing: float64(len(status[fieldFailing].(map[string]any))), metricRolesDrifted: float64(len(status[fieldDrifted].(map[string]any))),
		metricRotationPaused: 0, metricDriftDetection: 0,
	}
	if status[fieldDisableRotation] == true {
		expected[metricRotationPaused] = 1
	}
	if status[fieldDriftDetection] == string(driftOn) {
		expected[metricDriftDetection] = 1
	}
	for phase, number := range status[fieldPhases].(map[string]any) {
		expected[metricRolesInPhase+"{"+phase+"}"] = float64(number.(int))
	}
	tokens := status[fieldTokens].(map[string]any)
	for metric, field := range map[string]string{
		metricTokensIssued: "issued", metricTokensHandedOut: "handed_out", metricTokensStale: "stale", metricTokensRefused: "refused",
	} {
		expected[metric] = float64(tokens[field].(uint64))
	}
	return expected
}

// differing are the values that are not as expected.
func differing(expected, found map[string]float64) []string {
	var differ []string
	for name, value := range expected {
		if has, ok := found[name]; !ok || has != value {
			differ = append(differ, fmt.Sprintf("%s is %v (there: %t), not %v", name, has, ok, value))
		}
	}
	slices.Sort(differ)
	return differ
}

func (env *testEnv) requireMetrics(expected map[string]float64) {
	env.t.Helper()
	require.Empty(env.t, differing(expected, env.metrics()))
}

// TestMetricsAreWhatHappens: a mount's life, and what metrics makes of it.
func TestMetricsAreWhatHappens(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := newEnv(t)
		env.requireMetrics(map[string]float64{
			metricRoles: 0, metricRolesFailing: 0, metricCredentialReads + "{creds}": 0, metricRotations + "{role}": 0,
			metricBuildInfo + "{" + Version + "}": 1, metricServingSince: float64(time.Now().Unix()),
		})
		assert.NotContains(t, env.metrics(), metricOldestSecret, "there is no secret")
		assert.NotContains(t, env.metrics(), metricRateLimit, "nothing is known of it")

		env.write("config", engineConfig(nil))
		for _, id := range []string{testAppID, "second", "third"} {
			if id != testAppID {
				env.auth0.add(id, "secret-of-"+id)
			}
			env.write("roles/"+strings.Replace(id, testAppID, "app", 1), map[string]any{fieldClientID: id, fieldTTL: 60})
		}
		sleep(time.Hour)
		env.write("rotate/app", nil)
		env.requireMetrics(map[string]float64{
			metricRoles: 3, metricRolesInPhase + "{steady}": 2, metricRolesInPhase + "{staged}": 1, metricRolesInPhase + "{propagating}": 0,
			metricOldestSecret: 3600, metricRateLimit: 50, metricRateLimitRemaining: 49, metricRotations + "{role}": 0,
		})
		sleep(65 * time.Second)
		env.requireMetrics(map[string]float64{
			metricRolesInPhase + "{propagating}": 1, metricRotations + "{role}": 1, metricAttempts + "{role,accepted}": 1,
			metricOldestSecret: 3665,
		})

		env.read("creds/app")
		env.read("creds/app")
		env.read("static-creds/app")
		env.refused(400, "does not exist", logical.ReadOperation, "creds/nobody", nil)
		env.auth0.honoursScope = true
		env.write("token-roles/reader", map[string]any{fieldScopes: scopeReadClients})
		env.read("tokens/reader")
		env.write("rotate-root", nil)
		env.requireMetrics(map[string]float64{
			metricCredentialReads + "{creds}": 2, metricCredentialReads + "{static-creds}": 1, metricTokensHandedOut: 1,
			metricRotations + "{engine}": 1, metricAttempts + "{engine,accepted}": 1, metricRotations + "{role}": 1,
		})

		env.refuses("set")
		env.write("rotate/second", nil)
		sleep(2 * time.Minute)
		env.requireMetrics(map[string]float64{metricRolesFailing: 1, metricRolesOverdue: 1})
		assert.Positive(t, env.metrics()[metricAttempts+"{role,refused}"])
		env.failing("set", &auth0.Error{Class: auth0.Limited, Op: "set", Status: 429, RetryAfter: time.Minute})
		env.auth0.mu.Lock()
		env.auth0.set("third", "by-somebody-else")
		env.auth0.mu.Unlock()
		sleep(25 * time.Hour)
		env.requireMetrics(map[string]float64{metricRolesDrifted: 1, metricRotations + "{role}": 1})
		assert.Positive(t, env.metrics()[metricAttempts+"{role,limited}"])
		env.write("config", map[string]any{fieldDisableRotation: true, fieldDriftCheckPeriod: 0})
		env.requireMetrics(map[string]float64{metricRotationPaused: 1, metricDriftDetection: 0})
		env.requireMetrics(metricsOfStatus(env.read("status")))

		env.restart() // a process counts by itself
		env.requireMetrics(map[string]float64{
			metricRoles: 3, metricRolesDrifted: 1, metricRotations + "{role}": 0, metricCredentialReads + "{creds}": 0,
			metricServingSince: float64(time.Now().Unix()),
		})
	})
}

// TestMetricsOfARoleThatCannotBeRead: it fails, as in status, and hides nothing.
func TestMetricsOfARoleThatCannotBeRead(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID})
	require.NoError(t, env.storage.Put(t.Context(), &logical.StorageEntry{Key: storageRoles + "broken", Value: []byte("{")}))
	env.requireMetrics(map[string]float64{metricRoles: 2, metricRolesFailing: 1, metricRolesInPhase + "{steady}": 1})
	env.requireMetrics(metricsOfStatus(env.read("status")))
}

// TestMetricsFollowTheConventions of Prometheus, and no label can have values without
// bounds: whatever happens, there are as many values as there were.
func TestMetricsFollowTheConventions(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID})
	before := env.metrics()
	families := answers.Metrics(t, env.read("metrics"))
	for name, family := range families {
		assert.Regexp(t, `^auth0_[a-z0-9_]+$`, name)
		assert.Equal(t, family.GetType() == dto.MetricType_COUNTER, strings.HasSuffix(name, "_total"), name)
		assert.Regexp(t, `\.$`, family.GetHelp(), name)
		if regexp.MustCompile(`_(timestamp|age)`).MatchString(name) {
			assert.Regexp(t, `_seconds$`, name)
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				assert.Contains(t, []string{labelVersion, labelPhase, labelTarget, labelOutcome, labelPath, labelEndpoint, labelStatus}, label.GetName())
			}
		}
	}
	for i := range 30 {
		id := fmt.Sprint("another", i)
		env.auth0.add(id, "secret-of-"+id)
		env.write("roles/"+id, map[string]any{fieldClientID: id})
		env.write("rotate/"+id, map[string]any{fieldForce: i%2 == 0})
		env.read("creds/" + id)
	}
	assert.Equal(t, slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(env.metrics())))
}

func TestMetricsCallAuth0ForNothing(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID})
	env.auth0.mu.Lock()
	calls := len(env.auth0.calls)
	env.auth0.mu.Unlock()
	for range 3 {
		env.metrics()
	}
	env.auth0.mu.Lock()
	defer env.auth0.mu.Unlock()
	assert.Len(t, env.auth0.calls, calls)
}
