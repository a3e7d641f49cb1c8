package doctor

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEmptyItemsOfAListOfApplicationsAreNone, as of a shell's or a program's list that ends in a comma.
func TestEmptyItemsOfAListOfApplicationsAreNone(t *testing.T) {
	args := []string{"-domain=a.auth0.com", "-client_id=engine", "-client_secret=s", "-application=one,", "-application=two,,three"}
	s, err := readSettings(args, nil, func(string) string { return "" })
	require.NoError(t, err)
	assert.Equal(t, []string{"one", "three", "two"}, s.applications)
}
