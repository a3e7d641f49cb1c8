package devvault

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func freePort(t *testing.T) int {
	t.Helper()
	address, err := FreeAddress()
	require.NoError(t, err)
	_, text, err := net.SplitHostPort(address)
	require.NoError(t, err)
	port, err := strconv.Atoi(text)
	require.NoError(t, err)
	return port
}

// TestAddressIsGivenOnce: not again by another process either, not even while nobody
// listens on it.
func TestAddressIsGivenOnce(t *testing.T) {
	port := freePort(t)
	_, err := listen(port + ports)
	require.Error(t, err, "this process guards the port")

	byOther := after(port)
	if guard, err := listen(byOther + ports); err == nil {
		defer func() { _ = guard.Close() }()
	}
	port = freePort(t)
	assert.NotEqual(t, byOther, port, "another process guards it")

	inUse := after(port)
	if listener, err := listen(inUse); err == nil {
		defer func() { _ = listener.Close() }()
	}
	assert.NotEqual(t, inUse, freePort(t), "a server listens on it")
}

// after is the port that is looked at next.
func after(port int) int { return firstPort + (port-firstPort+1)%ports }
