// Package printed is for tests that nothing prints a secret.
package printed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
)

// Everything is what fmt, encoding/json, hclog and slog make of a value and of a pointer to
// it, by themselves and within others.
func Everything(t *testing.T, value, pointer any) string {
	t.Helper()
	var all bytes.Buffer
	for _, printed := range []any{
		pointer, value, struct{ Value, Pointer any }{value, pointer}, []any{value, pointer}, map[string]any{"a": value},
	} {
		for _, flags := range []string{"", "+", "#"} {
			for _, verb := range "vTtbcdoOqxXUeEfFgGspwz" {
				fmt.Fprintf(&all, "%"+flags+string(verb)+"\n", printed)
			}
		}
		for _, options := range []*hclog.LoggerOptions{{Output: &all}, {Output: &all, JSONFormat: true}} {
			hclog.New(options).Info("source", "one", printed, "list", []any{printed})
		}
		for _, handler := range []slog.Handler{slog.NewTextHandler(&all, nil), slog.NewJSONHandler(&all, nil)} {
			slog.New(handler).Info("source", "one", printed, "list", []any{printed})
		}
		text, err := json.Marshal(printed)
		require.NoError(t, err)
		all.Write(text)
	}
	unexported := struct{ value, pointer any }{value, pointer} // there fmt calls no methods
	fmt.Fprintf(&all, "%v %+v %#v", unexported, unexported, unexported)
	return all.String()
}
