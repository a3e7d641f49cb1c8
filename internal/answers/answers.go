// Package answers checks what the engine answers against what it declares. It
// is for tests only.
package answers

import (
	"bytes"
	"mime"
	"net/http"
	"testing"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/testhelpers/schema"
	"github.com/hashicorp/vault/sdk/logical"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Router finds the path that answers a request. A framework.Backend is one.
type Router interface {
	Route(path string) *framework.Path
}

// Check fails the test unless data is an answer that the path declares for the
// operation: all required fields are there, no others, and each of its type; or, of a
// path that answers without an envelope, metrics as Prometheus reads them.
func Check(t *testing.T, router Router, operation logical.Operation, path string, data map[string]any) {
	t.Helper()
	route := router.Route(path)
	if route == nil {
		t.Fatalf("no path answers %q", path)
	}
	declared := schema.GetResponseSchema(t, route, operation)
	if declared.MediaType != "" {
		checkText(t, declared.MediaType, data)
		return
	}
	if len(declared.Fields) == 0 && len(data) > 0 {
		t.Fatalf("%s %s declares no data and answers %d fields", operation, path, len(data))
	}
	schema.ValidateResponseData(t, declared, data, true)
}

// checkText fails the test unless data is an answer without an envelope, of a media
// type, that Prometheus can read.
func checkText(t *testing.T, mediaType string, data map[string]any) {
	t.Helper()
	contentType, _ := data[logical.HTTPContentType].(string)
	if found, _, err := mime.ParseMediaType(contentType); err != nil || found != mediaType {
		t.Fatalf("the content type is %q, not %s", contentType, mediaType)
	}
	if data[logical.HTTPStatusCode] != http.StatusOK || len(data) != 3 {
		t.Fatalf("the status is %v, and there are %d fields", data[logical.HTTPStatusCode], len(data))
	}
	if len(Metrics(t, data)) == 0 {
		t.Fatal("there are no metrics in the answer")
	}
}

// Metrics are the metrics in an answer without an envelope, by name.
func Metrics(t *testing.T, data map[string]any) map[string]*dto.MetricFamily {
	t.Helper()
	text, _ := data[logical.HTTPRawBody].([]byte)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return families
}
