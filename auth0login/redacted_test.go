package auth0login

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const secretOfNobody = "a-client-secret-that-nobody-sees"

// verbs are those for which fmt calls Format, with one that it has not. It never does
// for p, and not for w outside of Errorf: those print a plain text like a secret of
// Credentials, and go vet reports them.
const verbs = "vTtbcdoOqxXUeEfFgGsz"

// printed is a value in all the ways to print, log and marshal it.
func printed(t *testing.T, value any, verbs string) string {
	t.Helper()
	var all bytes.Buffer
	for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "20", ".3", "# 5.2"} {
		for _, verb := range verbs {
			fmt.Fprintf(&all, "%"+flags+string(verb)+"\n", value)
		}
	}
	noVerb := "extra\n"
	fmt.Fprintf(&all, noVerb, value) //nolint:staticcheck // what fmt makes of a value that it has no verb for
	fmt.Fprintln(&all, value)
	for _, options := range []*hclog.LoggerOptions{{Output: &all}, {Output: &all, JSONFormat: true}} {
		hclog.New(options).Info("value", "one", value, "list", []any{value}, "formatted", hclog.Fmt("%v %+v", value, value))
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&all, nil), slog.NewJSONHandler(&all, nil)} {
		slog.New(handler).Info("value", "one", value, "list", []any{value}, slog.Group("group", "one", value))
	}
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal, xml.Marshal} {
		if text, err := marshal(value); err == nil { // XML has no maps
			all.Write(text)
		}
	}
	return all.String()
}

// kinds are ways in which a program may hold a value.
func kinds(value any) map[string]any {
	pointer := reflect.New(reflect.TypeOf(value))
	pointer.Elem().Set(reflect.ValueOf(value))
	type inner struct{ Value, Pointer any }
	held := inner{Value: value, Pointer: pointer.Interface()}
	return map[string]any{
		"value": value, "pointer": pointer.Interface(), "struct": held, "pointer to a struct": &held,
		"struct in a struct": struct{ Inner inner }{held}, "list": []any{value, pointer.Interface()}, "map": map[string]any{"a": value},
	}
}

// TestNothingPrintsASecret before and after a login.
func TestNothingPrintsASecret(t *testing.T) {
	auth0 := startAuth0(t, accepts(secretOfNobody))
	credentials, err := auth0.source(secretOfNobody)(t.Context())
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "auth0.json")
	rendered := File(name)
	render(t, name, secretOfNobody)
	_, err = rendered.Credentials(t.Context())
	require.NoError(t, err)
	app, another := New(auth0.source(secretOfNobody)), New(rendered, Domain("example.eu.auth0.com"))
	check := func(t *testing.T) {
		for name, value := range map[string]any{
			"Credentials": credentials, "Application": reflect.ValueOf(app).Elem().Interface(),
			"Application with a file": reflect.ValueOf(another).Elem().Interface(), "file": rendered,
		} {
			for kind, held := range kinds(value) {
				all := verbs
				if name != "Credentials" {
					all += "pw"
				}
				text := printed(t, held, all)
				assert.NotContains(t, text, secretOfNobody, "%s: %s", name, kind)
				assert.NotContains(t, text, fmt.Sprintf("%x", secretOfNobody), "%s: %s", name, kind)
				assert.NotContains(t, text, fmt.Sprintf("%X", secretOfNobody), "%s: %s", name, kind)
			}
		}
	}
	check(t)
	require.NoError(t, auth0.login(t, app))
	require.Contains(t, app.record.of, secretOfNobody)
	another.record.ended(secretOfNobody, another.record.begin(), true)
	check(t)
	unexported := struct {
		value       Application
		pointer     *Application
		credentials *Credentials
	}{*app, app, &credentials}
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v", unexported, unexported, unexported), secretOfNobody, "there fmt calls no methods")

	assert.Equal(t, "Auth0 application", app.String())
	assert.Equal(t, "Auth0 application at example.eu.auth0.com", fmt.Sprintf("%d", another))
	assert.Equal(t, credentials.String(), fmt.Sprintf("%#v", credentials))
	assert.Contains(t, credentials.String(), "with 1 client secrets")
	text, err := json.Marshal(map[string]any{"credentials": &credentials})
	require.NoError(t, err)
	assert.JSONEq(t, `{"credentials":"`+credentials.String()+`"}`, string(text))
	text, err = json.Marshal([]any{another, Application{}})
	require.NoError(t, err)
	assert.JSONEq(t, `["Auth0 application at example.eu.auth0.com", "Auth0 application"]`, string(text))
	assert.Equal(t, "Auth0 application", app.LogValue().String())
	assert.Equal(t, credentials.String(), credentials.LogValue().String())
}

// TestErrorsHaveNoSecret: those of logins and of text that cannot be read.
func TestErrorsHaveNoSecret(t *testing.T) {
	auth0 := startAuth0(t, accepts("another"))
	all := printed(t, auth0.login(t, New(auth0.source(secretOfNobody))), verbs)
	auth0.switchTo(func(string) (int, string) { return 307, "" })
	all += printed(t, auth0.login(t, New(auth0.source(secretOfNobody))), verbs)
	auth0.Close()
	all += printed(t, auth0.login(t, New(auth0.source(secretOfNobody))), verbs)
	_, err := ParseCredentials([]byte(`{"client_secrets":"` + secretOfNobody + `"}`))
	all += printed(t, err, verbs)
	assert.NotContains(t, all, secretOfNobody)
}
