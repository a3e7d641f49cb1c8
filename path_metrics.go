package auth0secrets

import (
	"context"
	"mime"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/prometheus/common/expfmt"
)

const (
	pathMetricsSynopsis    = "Get metrics for Prometheus."
	pathMetricsDescription = `
Answers in Prometheus' text format, without Vault's usual envelope: a scraper with a
Vault token gets it at /v1/auth0/metrics; on the command line, vault read -format=raw.

It has what "status" counts, and counters. These count what happened in the mount
since the process that serves it began (auth0_serving_since_timestamp_seconds), and
begin again with 0 after a restart, a failover or a reload, as Prometheus expects of
counters. Whichever node is asked, the active one answers: scrape one address, not
each node. No metric names a role; "status" does. Reading it never calls Auth0.`
)

// metricsFormat is one that every Prometheus can read.
var metricsFormat = expfmt.NewFormat(expfmt.TypeTextPlain)

func (b *backend) pathMetrics() []*framework.Path {
	return []*framework.Path{{
		Pattern:      "metrics$",
		DisplayAttrs: named("metrics"),
		Operations: map[logical.Operation]framework.OperationHandler{
			// A standby does not know what is overdue, and counts nothing: the active
			// node answers reads of credentials, too.
			logical.ReadOperation: readsActive(b.metricsRead, pathMetricsSynopsis, answersWithText(metricsFormat)),
		},
		HelpSynopsis:    pathMetricsSynopsis,
		HelpDescription: strings.TrimSpace(pathMetricsDescription),
	}}
}

// answersWithText declares an answer of plain text, without an envelope.
func answersWithText(format expfmt.Format) map[int][]framework.Response {
	mediaType, _, _ := mime.ParseMediaType(string(format))
	return map[int][]framework.Response{http.StatusOK: {{Description: http.StatusText(http.StatusOK), MediaType: mediaType}}}
}

func (b *backend) metricsRead(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	text, err := b.metrics(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: map[string]any{
		logical.HTTPStatusCode: http.StatusOK, logical.HTTPContentType: string(metricsFormat), logical.HTTPRawBody: text,
	}}, nil
}
