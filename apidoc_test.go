package auth0secrets

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAPIDocument: docs/api.md is what the code declares and answers.
func TestAPIDocument(t *testing.T) {
	bubble(t, func(t *testing.T) {
		page, err := template.ParseFiles("testdata/api.md.tmpl")
		require.NoError(t, err)
		document := apiDocument{described: map[string]string{}}
		document.Envelope = inJSON(t, envelope("auth0/creds/shop/G5Dloff47LBD3tOU6aI5jRxd", 900, exampleCredentials))
		router := newEnv(t).b
		documented := map[*framework.Path]bool{}
		for _, section := range apiSections() {
			path := router.Route(section.Concrete)
			require.NotNil(t, path, section.Concrete)
			documented[path] = true
			document.describe(t, section, path)
		}
		require.Len(t, documented, len(router.Paths), "a path is not documented")
		var text strings.Builder
		require.NoError(t, page.Execute(&text, document))
		generated(t, "docs/api.md", strings.TrimSpace(regexp.MustCompile(`\n{3,}`).ReplaceAllString(text.String(), "\n\n"))+"\n")
	})
}

// apiDocument is what the template of docs/api.md is filled with.
type apiDocument struct {
	Envelope string
	Sections []renderedSection

	described map[string]string // by text: the path that it was shown for first
}

type renderedSection struct {
	Path, Description string
	Fields            []*renderedField
	Methods           []renderedMethod
}

type renderedMethod struct {
	Method, Summary string
	Samples         []renderedSample
}

// renderedField is a field of a path's requests, of its answers, or of both.
type renderedField struct{ Name, Type, Sent, Answered, Description string }

type renderedSample struct{ Method, Text, Path, Payload, Answer, Plain string }

// apiMethods are the operations as HTTP has them, in the order of the document.
var apiMethods = []struct {
	operation logical.Operation
	method    string
}{
	{logical.UpdateOperation, http.MethodPost},
	{logical.PatchOperation, http.MethodPatch},
	{logical.ReadOperation, http.MethodGet},
	{logical.ListOperation, "LIST"},
	{logical.DeleteOperation, http.MethodDelete},
}

// once is a text the first time, and then a link to the path where it was.
func (d *apiDocument) once(text, path string) string {
	before, shown := d.described[text]
	if !shown {
		d.described[text] = path
		return text
	}
	return fmt.Sprintf("See [`%s`](#%s).", before, notInSlug.ReplaceAllString(before, ""))
}

func (d *apiDocument) describe(t *testing.T, section apiSection, path *framework.Path) {
	t.Helper()
	rendered := renderedSection{Path: section.Path, Fields: fieldsOf(t, section, path)}
	rendered.Description = d.once(strings.ReplaceAll(strings.TrimSpace(path.HelpDescription), "<", "&lt;"), section.Path)
	for _, field := range rendered.Fields {
		text := strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(field.Description) // in a cell, outside of code
		if field.Description = d.once(field.Name+": "+text, section.Path); strings.HasPrefix(field.Description, field.Name+": ") {
			field.Description = text
		}
	}
	for _, known := range apiMethods {
		handler, ok := path.Operations[known.operation]
		if !ok {
			continue
		}
		props := handler.Properties()
		method := renderedMethod{Method: known.method, Summary: props.Summary}
		for _, sample := range samplesOf(section, known.operation, props) {
			drawn := renderedSample{Method: known.method, Text: sample.Text, Path: strings.TrimSuffix(cmp.Or(sample.Path, section.Concrete), "/")}
			if len(sample.Data) > 0 {
				drawn.Payload = inJSON(t, sample.Data)
			}
			if sample.Answer != nil {
				drawn.Answer = inJSON(t, answerOf(section, sample))
			}
			if answersText(props) {
				drawn.Plain = plainAnswer(t, section)
			}
			method.Samples = append(method.Samples, drawn)
		}
		rendered.Methods = append(rendered.Methods, method)
	}
	d.Sections = append(d.Sections, rendered)
}

// answersText says whether an operation answers without an envelope.
func answersText(props framework.OperationProperties) bool {
	declared := props.Responses[http.StatusOK]
	return len(declared) > 0 && declared[0].MediaType != ""
}

// plainAnswer is what the engine of the examples answers without an envelope: of each
// metric the first two values.
func plainAnswer(t *testing.T, section apiSection) string {
	t.Helper()
	env := apiEnv(t)
	text := env.read(section.Concrete)[logical.HTTPRawBody].([]byte)
	var shown []string
	values := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			values = 0
		} else {
			values++
		}
		switch {
		case values <= 2:
			shown = append(shown, line)
		case values == 3:
			shown = append(shown, "...\n")
		}
	}
	return strings.TrimSpace(strings.Join(shown, ""))
}

// samplesOf are the example requests for an operation.
func samplesOf(section apiSection, operation logical.Operation, props framework.OperationProperties) []apiSample {
	var answer map[string]any
	if declared := props.Responses[http.StatusOK]; len(declared) > 0 && declared[0].Example != nil {
		answer = declared[0].Example.Data
	}
	extra := slices.DeleteFunc(slices.Clone(section.Extra), func(sample apiSample) bool {
		return cmp.Or(sample.Operation, logical.UpdateOperation) != operation
	})
	if len(props.Examples) == 0 {
		sample := apiSample{Answer: answer}
		if section.Lease > 0 {
			sample.Warnings = section.Warnings
		}
		return append([]apiSample{sample}, extra...)
	}
	if section.Answer != nil {
		answer = section.Answer
	}
	samples := extra
	for _, example := range props.Examples {
		samples = append(samples, apiSample{Text: example.Description, Data: example.Data, Answer: answer, Warnings: section.Warnings})
	}
	return samples
}

func answerOf(section apiSection, sample apiSample) map[string]any {
	answer := map[string]any{"data": sample.Answer}
	if section.Lease > 0 {
		answer = envelope("auth0/"+cmp.Or(sample.Path, section.Concrete)+"/G5Dloff47LBD3tOU6aI5jRxd", section.Lease, sample.Answer)
		for _, field := range []string{"request_id", "wrap_info", "auth", "mount_type", "warnings"} {
			delete(answer, field)
		}
	}
	if sample.Warnings != nil {
		answer["warnings"] = sample.Warnings
	}
	return answer
}

// envelope is an answer as Vault's HTTP API gives it.
func envelope(lease string, seconds int, data map[string]any) map[string]any {
	return map[string]any{
		"request_id": "3410573c-f78f-8d68-2913-84d6eed1064a", "lease_id": lease, "lease_duration": seconds, "renewable": false,
		"data": data, "wrap_info": nil, "warnings": nil, "auth": nil, "mount_type": "auth0",
	}
}

func inJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.MarshalIndent(value, "", "  ")
	require.NoError(t, err)
	return string(text)
}

// fieldsOf are the fields that a path takes and answers, each once.
func fieldsOf(t *testing.T, section apiSection, path *framework.Path) []*renderedField {
	fields := map[string]*renderedField{}
	field := func(name string, schema *framework.FieldSchema) *renderedField {
		text := strings.TrimSuffix(strings.TrimSuffix(schema.Description, " In seconds."), " RFC 3339, UTC.") // as the document's head has it
		known := fields[name]
		switch {
		case known == nil:
			known = &renderedField{Name: name, Type: typeName(schema), Description: text}
			fields[name] = known
		case known.Description != text:
			known.Description += " Answered: " + text
		}
		return known
	}
	for name, schema := range path.Fields {
		field(name, schema).Sent = howSent(section, path, name, schema)
	}
	for _, known := range apiMethods {
		handler, ok := path.Operations[known.operation]
		if !ok {
			continue
		}
		declared := handler.Properties().Responses[http.StatusOK]
		if len(declared) == 0 {
			continue
		}
		for name, schema := range declared[0].Fields {
			answered := "if any"
			if schema.Required {
				answered = "always"
			}
			row := field(name, schema)
			require.Contains(t, []string{"", answered}, row.Answered, "%s %s: answers differ", section.Path, name)
			row.Answered = answered
		}
	}
	return slices.SortedFunc(maps.Values(fields), func(a, b *renderedField) int { return strings.Compare(a.Name, b.Name) })
}

// howSent says whether a field has to be sent, and what counts if it is not.
func howSent(section apiSection, path *framework.Path, name string, schema *framework.FieldSchema) string {
	switch {
	case name == fieldName:
		return "in the path"
	case schema.Query:
		return "in the query"
	}
	for _, group := range section.Needs {
		if slices.Contains(group, name) {
			return needed(group, name, path)
		}
	}
	if value := defaultOf(schema); value != "" {
		return "default " + value
	}
	return "optional"
}

// needed says whether a field has to be sent.
func needed(group []string, name string, path *framework.Path) string {
	text := "yes"
	if _, creates := path.Operations[logical.CreateOperation]; creates {
		text = "to create"
	}
	if len(group) > 1 {
		others := slices.DeleteFunc(slices.Clone(group), func(other string) bool { return other == name })
		text += ", or `" + strings.Join(others, "` or `") + "`"
	}
	return text
}

func typeName(schema *framework.FieldSchema) string {
	name := map[framework.FieldType]string{
		framework.TypeString: "string", framework.TypeInt: "integer", framework.TypeBool: "boolean",
		framework.TypeDurationSecond: "duration", framework.TypeTime: "time", framework.TypeMap: "object", framework.TypeKVPairs: "object",
		framework.TypeStringSlice: "list", framework.TypeCommaStringSlice: "list",
	}[schema.Type]
	if name == "" {
		panic("no name for the type " + schema.Type.String())
	}
	if len(schema.AllowedValues) > 0 {
		values := make([]string, len(schema.AllowedValues))
		for i, value := range schema.AllowedValues {
			values[i] = fmt.Sprintf("`%v`", value)
		}
		name += ": " + strings.Join(values, ", ")
	}
	return name
}

func defaultOf(schema *framework.FieldSchema) string {
	switch value := schema.Default.(type) {
	case nil:
		return ""
	case string:
		if d, err := time.ParseDuration(value); err == nil { // 24h0m0s is 24h
			value = trailingZeros.ReplaceAllString(d.String(), "$1")
		}
		return "`" + value + "`"
	default:
		return fmt.Sprintf("`%v`", value)
	}
}

// trailingZeros are the parts of a duration that say nothing.
var trailingZeros = regexp.MustCompile(`([hm])(0[ms])+$`)

// TestFieldsThatAreNeeded: what docs/api.md calls required is, and nothing else.
func TestFieldsThatAreNeeded(t *testing.T) {
	sendable := map[string]any{
		fieldDomain: exampleDomain, fieldClientID: exampleAppID, fieldScopes: []string{scopeReadClients},
		fieldFilterAppType: "regular_web", fieldFilterName: "*", fieldClientIDs: exampleAppID,
	}
	for _, section := range apiSections() {
		for missing := range section.Needs {
			for _, with := range section.Needs[missing] {
				env := apiConfigured(t)
				values := maps.Clone(sendable)
				if section.Path == "config" {
					env = apiTenant(t)
					env.auth0.keys = testKeys()[:1]
					values[fieldClientID], values[fieldClientSecret], values[fieldPrivateKey] = exampleEngineID, apiEngineSecret, testKeys()[0]
				}
				sent := map[string]any{}
				for i, group := range section.Needs {
					if i != missing {
						sent[group[0]] = values[group[0]]
					}
				}
				env.refused(http.StatusBadRequest, "", logical.UpdateOperation, section.Concrete, sent)
				sent[with] = values[with]
				env.write(section.Concrete, sent)
			}
		}
	}
}

// TestExamplesOfTheAPIDocument: the example requests work in the order of the
// document (the ones that change or delete something after the others), and the
// answers have the fields that are shown.
func TestExamplesOfTheAPIDocument(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := apiTenant(t)
		real := map[any]any{exampleEngineID: exampleEngineID, "...": apiEngineSecret}
		sections := apiSections()
		ran := 0
		run := func(section apiSection, operations ...logical.Operation) {
			path := env.b.Route(section.Concrete)
			for _, operation := range operations {
				handler, ok := path.Operations[operation]
				if !ok {
					continue
				}
				for _, sample := range samplesOf(section, operation, handler.Properties()) {
					data := maps.Clone(sample.Data)
					for field, value := range data {
						if value, ok := value.(string); ok && real[value] != nil {
							data[field] = real[value]
						}
					}
					resp := env.must(operation, cmp.Or(sample.Path, section.Concrete), data)
					if !answersText(handler.Properties()) { // a text was checked like any answer, and the document's is one
						sameFields(t, section, operation, path, sample, resp)
					}
					ran++
				}
			}
			sleep(time.Second)
		}
		for _, section := range sections {
			if section.Path == "token-roles/:name" {
				env.auth0.grantScopes("read:orders", scopeUpdateClientKeys, scopeReadClients, scopeReadClientKeys)
			}
			if section.Path == "rotate-all" {
				env.failingRole()
			}
			run(section, logical.UpdateOperation, logical.ReadOperation, logical.ListOperation)
		}
		for _, section := range sections {
			run(section, logical.PatchOperation)
		}
		for _, role := range []string{"failing", "orders"} {
			env.must(logical.DeleteOperation, "roles/"+role, nil)
		}
		for _, section := range slices.Backward(sections) {
			run(section, logical.DeleteOperation)
		}
		assert.Greater(t, ran, 24)
		left, err := env.storage.List(t.Context(), storageRoles)
		require.NoError(t, err)
		assert.Empty(t, left)
	})
}

// failingRole makes a role whose rotation fails.
func (env *testEnv) failingRole() {
	env.write("roles/failing", map[string]any{fieldClientID: apiFailingApp})
	env.auth0.interfereWith(func(op, clientID string, _ func()) error {
		if op == "set" && clientID == apiFailingApp {
			return noAnswer("set secret")
		}
		return nil
	})
	_, err := env.request(logical.UpdateOperation, "rotate/failing", map[string]any{fieldForce: true})
	requireCoded(env.t, err, http.StatusBadGateway, "no clear answer")
}

// sameFields checks that an answer has the fields of the example, save for those
// that need not be there.
func sameFields(t *testing.T, section apiSection, operation logical.Operation, path *framework.Path, sample apiSample, resp *logical.Response) {
	t.Helper()
	name, example := fmt.Sprint(operation, " ", section.Path), sample.Answer
	var data map[string]any
	if resp != nil {
		data = resp.Data
	}
	if resp != nil && operation != logical.DeleteOperation { // of which some warn
		assert.Equal(t, withoutTimes(sample.Warnings), withoutTimes(resp.Warnings), "%s: warnings", name)
	}
	assert.Equal(t, example != nil, data != nil, name)
	if example == nil {
		return
	}
	declared := path.Operations[operation].Properties().Responses[http.StatusOK][0].Fields
	for field, schema := range declared {
		_, shown := example[field]
		_, answered := data[field]
		assert.True(t, shown == answered || !schema.Required, "%s: %s: shown %t, answered %t", name, field, shown, answered)
		sameEntries(t, name+" "+field, example[field], data[field])
	}
	if ttl, ok := example[fieldTTL]; ok {
		assert.EqualValues(t, ttl, data[fieldTTL], "%s: ttl", name)
	}
	for field := range data {
		assert.Contains(t, declared, field, name)
	}
	assert.Equal(t, section.Lease > 0, resp.Secret != nil, "%s: a lease", name)
	if section.Lease > 0 {
		assert.Equal(t, time.Duration(section.Lease)*time.Second, resp.Secret.TTL, name)
		assert.False(t, resp.Secret.Renewable, name)
	}
}

// withoutTimes is texts with the times in them left out.
func withoutTimes(texts []string) string {
	return regexp.MustCompile(`\d{4}-\S+Z`).ReplaceAllString(strings.Join(texts, "\n"), "<time>")
}

// sameEntries checks that the entries of a map of maps have the same fields.
func sameEntries(t *testing.T, name string, example, data any) {
	t.Helper()
	shown, isMap := example.(map[string]any)
	answered, _ := data.(map[string]any)
	if !isMap || len(shown) == 0 || len(answered) == 0 {
		return
	}
	fieldsOf := func(entries map[string]any) []string {
		fields := map[string]any{}
		for _, entry := range entries {
			if of, ok := entry.(map[string]any); ok {
				fields = merged(fields, of)
			}
		}
		return slices.Sorted(maps.Keys(fields))
	}
	assert.Equal(t, fieldsOf(shown), fieldsOf(answered), name)
}
