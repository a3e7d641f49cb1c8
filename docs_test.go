package auth0secrets

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// update has the documents that tests generate written anew: make docs.
var update = flag.Bool("update", false, "write the generated documents of docs/ anew")

// generated checks that a document is what was generated, or makes it so.
func generated(t *testing.T, file, content string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	want, have := strings.Split(content, "\n"), strings.Split(string(text), "\n")
	for i, line := range want { // the first difference says enough
		require.Less(t, i, len(have), "%s ends too early: run make docs", file)
		require.Equal(t, line, have[i], "%s is out of date in line %d: run make docs", file, i+1)
	}
	require.Len(t, have, len(want), "%s goes on too long: run make docs", file)
}
