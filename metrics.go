package auth0secrets

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/rotation"
)

// Metrics for Prometheus. No label carries a secret or has ever more values, as names
// of roles would: status has these.

// Names of metrics.
const (
	metricBuildInfo          = "auth0_build_info"
	metricServingSince       = "auth0_serving_since_timestamp_seconds"
	metricRoles              = "auth0_roles"
	metricRolesInPhase       = "auth0_roles_in_phase"
	metricRolesOverdue       = "auth0_roles_overdue"
	metricRolesFailing       = "auth0_roles_failing"
	metricRolesDrifted       = "auth0_roles_drifted"
	metricDriftDetection     = "auth0_drift_detection"
	metricRotationPaused     = "auth0_rotation_paused"
	metricOldestSecret       = "auth0_oldest_secret_age_seconds"
	metricRateLimit          = "auth0_rate_limit"
	metricRateLimitRemaining = "auth0_rate_limit_remaining"
	metricRotations          = "auth0_rotations_total"
	metricAttempts           = "auth0_rotation_attempts_total"
	metricCredentialReads    = "auth0_credential_reads_total"
	metricTokensIssued       = "auth0_tokens_issued_total"
	metricTokensHandedOut    = "auth0_tokens_handed_out_total"
	metricTokensStale        = "auth0_tokens_stale_total"
	metricTokensRefused      = "auth0_tokens_refused_total"
	metricRequests           = "auth0_requests_total"
)

// Names of labels.
const (
	labelVersion  = "version"
	labelPhase    = "phase"
	labelTarget   = "target"
	labelOutcome  = "outcome"
	labelPath     = "path"
	labelEndpoint = "endpoint"
	labelStatus   = "status"
)

// rotated is whose secret was rotated.
type rotated int

const (
	rotatedRole rotated = iota
	rotatedEngine
)

var (
	// rotatedNames and outcomeNames are values of labels.
	rotatedNames = [...]string{rotatedRole: "role", rotatedEngine: "engine"}
	outcomeNames = [...]string{
		rotation.Unclear: "unclear", rotation.Accepted: "accepted", rotation.Hidden: "hidden", rotation.Found: "found",
		rotation.Refused: "refused", rotation.Rejected: "rejected", rotation.Limited: "limited", rotation.NotSent: "not_sent",
		rotation.Untold: "untold",
	}
)

// counters count since the process began. Counting a read of credentials costs one
// atomic addition.
type counters struct {
	reads, staticReads, assertions atomic.Uint64
	// tokens were handed out by tokens/, tokensStale of them for want of fresher ones.
	// tokensRefused reads got none.
	tokens, tokensStale, tokensRefused atomic.Uint64
	rotations                          [len(rotatedNames)]atomic.Uint64
	attempts                           [len(rotatedNames)][len(outcomeNames)]atomic.Uint64
	upstream                           auth0.Counts
}

// attempted counts an attempt at Auth0.
func (c *counters) attempted(of rotated, o rotation.Outcome) rotation.Outcome {
	c.attempts[of][o.Result].Add(1)
	return o
}

// tokenCounts are the counts of tokens for status.
func (c *counters) tokenCounts() map[string]any {
	return map[string]any{
		"issued": c.upstream.Tokens(), "handed_out": c.tokens.Load(), "stale": c.tokensStale.Load(), "refused": c.tokensRefused.Load(),
	}
}

// exposition collects metrics in Prometheus' text format.
type exposition struct {
	text bytes.Buffer
	err  error
}

// sample is a value with the names and values of its labels in turn.
type sample struct {
	value  float64
	labels []string
}

func value(v float64, labels ...string) sample { return sample{v, labels} }

// gauge adds a metric with a present value, counter one that only grows. Without
// samples they add nothing.
func (e *exposition) gauge(name, help string, samples ...sample) {
	e.add(name, help, dto.MetricType_GAUGE, func(v float64) *dto.Metric { return &dto.Metric{Gauge: &dto.Gauge{Value: &v}} }, samples)
}

func (e *exposition) counter(name, help string, samples ...sample) {
	e.add(name, help, dto.MetricType_COUNTER, func(v float64) *dto.Metric { return &dto.Metric{Counter: &dto.Counter{Value: &v}} }, samples)
}

func (e *exposition) add(name, help string, kind dto.MetricType, metric func(float64) *dto.Metric, samples []sample) {
	if len(samples) == 0 || e.err != nil {
		return
	}
	family := &dto.MetricFamily{Name: &name, Help: &help, Type: &kind}
	for _, s := range samples {
		m := metric(s.value)
		for i := 0; i < len(s.labels); i += 2 {
			m.Label = append(m.Label, &dto.LabelPair{Name: new(s.labels[i]), Value: new(s.labels[i+1])})
		}
		family.Metric = append(family.Metric, m)
	}
	_, e.err = expfmt.MetricFamilyToText(&e.text, family)
}

// metrics returns the metrics of the mount. Like status it does not call Auth0.
func (b *backend) metrics(ctx context.Context, storage logical.Storage) ([]byte, error) {
	roles, err := b.countRoles(ctx, storage)
	if err != nil {
		return nil, err
	}
	e := &exposition{}
	e.gauge(metricBuildInfo, "The version of the plugin that answers; always 1.", value(1, labelVersion, Version))
	e.gauge(metricServingSince, "When this process began to serve the mount, and to count.", value(float64(b.served.servingSince.Unix())))
	e.roles(roles)
	e.gauge(metricDriftDetection, "1 if a secret that is changed outside Vault would be noticed, else 0.", yes(b.driftDetection() == driftOn))
	e.gauge(metricRotationPaused, "1 if disable_automated_rotation is set for the whole mount, else 0.", yes(roles.mount.Paused))
	if conn := b.connection.Load(); conn != nil {
		e.rateLimit(conn.api.RateLimit())
	}
	e.counters(&b.counters)
	return e.text.Bytes(), e.err
}

func yes(is bool) sample {
	if is {
		return value(1)
	}
	return value(0)
}

// roles adds the counts of status.
func (e *exposition) roles(c *roleCount) {
	e.gauge(metricRoles, "How many roles there are.", value(float64(c.total)))
	phases := make([]sample, 0, len(c.phases))
	for _, phase := range []rotation.Phase{rotation.Steady, rotation.Staged, rotation.Propagating} {
		phases = append(phases, value(float64(c.phases[phase]), labelPhase, string(phase)))
	}
	e.gauge(metricRolesInPhase, "How many roles are in each phase. Those whose entry cannot be read are in none.", phases...)
	e.gauge(metricRolesOverdue, "How many roles have a step of a rotation that is due and not done.", value(float64(c.overdue)))
	e.gauge(metricRolesFailing, "Of how many roles the last attempt at Auth0 failed, the rate limit aside.", value(float64(len(c.failing))))
	e.gauge(metricRolesDrifted, "How many roles have a secret that was set outside Vault, or a key that was removed there.", value(float64(len(c.drifted))))
	if !c.oldest.IsZero() {
		e.gauge(metricOldestSecret, "For how long the oldest secret or key of a role has been in use: since it was set in Auth0, imported, or found there.",
			value(max(c.now.Sub(c.oldest), 0).Round(time.Second).Seconds()))
	}
}

// rateLimit adds the rate limit, if it is known.
func (e *exposition) rateLimit(limit auth0.RateLimit) {
	if limit.SeenAt.IsZero() {
		return
	}
	if limit.Limit >= 0 {
		e.gauge(metricRateLimit, "The Management API's rate limit as last seen, in requests.", value(float64(limit.Limit)))
	}
	if limit.Remaining >= 0 {
		e.gauge(metricRateLimitRemaining, "How many requests the rate limit had left then.", value(float64(limit.Remaining)))
	}
}

// counters adds the counters. Those still at 0 are there, too: an increase shows only
// against an earlier value.
func (e *exposition) counters(c *counters) {
	number := func(n uint64, labels ...string) sample { return value(float64(n), labels...) }
	rotations := make([]sample, 0, len(rotatedNames))
	attempts := make([]sample, 0, len(rotatedNames)*len(outcomeNames))
	for of, target := range rotatedNames {
		rotations = append(rotations, number(c.rotations[of].Load(), labelTarget, target))
		for result, outcome := range outcomeNames {
			attempts = append(attempts, number(c.attempts[of][result].Load(), labelTarget, target, labelOutcome, outcome))
		}
	}
	upstream := c.upstream.Requests()
	requests := make([]sample, 0, len(upstream))
	for _, r := range upstream {
		requests = append(requests, number(r.Number, labelEndpoint, r.Endpoint, labelStatus, r.Status))
	}
	e.counter(metricRotations, "New secrets and keys that took effect, of roles and of the engine itself.", rotations...)
	e.counter(metricAttempts, "Attempts at Auth0 to rotate. The outcomes accepted, found, hidden and untold are good; refused, rejected, limited and "+
		"not_sent changed nothing; unclear is settled later.", attempts...)
	e.counter(metricCredentialReads, "Credentials and client assertions that were handed out.",
		number(c.reads.Load(), labelPath, "creds"), number(c.staticReads.Load(), labelPath, "static-creds"),
		number(c.assertions.Load(), labelPath, "assertions"))
	e.counter(metricTokensIssued, "Access tokens that Auth0 issued to the engine, for itself and to be handed out.", number(c.upstream.Tokens()))
	e.counter(metricTokensHandedOut, "Access tokens that were handed out at tokens/.", number(c.tokens.Load()))
	e.counter(metricTokensStale, "Those of them that were held already, because Auth0 gave no fresher one.", number(c.tokensStale.Load()))
	e.counter(metricTokensRefused, "Reads of tokens/ that brought no token.", number(c.tokensRefused.Load()))
	e.counter(metricRequests, "Requests to Auth0 by the class of the answer's status; 429 is the rate limit, none that there was no answer.", requests...)
}
