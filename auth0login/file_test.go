package auth0login

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// render replaces the file as Vault Agent does: at once.
func render(t *testing.T, file string, secrets ...string) {
	t.Helper()
	part := file + ".part"
	text := encoded(t, map[string]any{"domain": "example.eu.auth0.com", "client_id": "shop", "client_secrets": secrets})
	require.NoError(t, os.WriteFile(part, text, 0o600))
	require.NoError(t, os.Rename(part, file))
}

func TestAChangedFileTakesEffectAtOnce(t *testing.T) {
	name := filepath.Join(t.TempDir(), "auth0.json")
	source := File(name)
	_, err := source.Credentials(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist, "not rendered yet")
	for i := range 100 { // same size, and the same time of change as far as file systems tell
		secret := fmt.Sprintf("secret-%03d", i)
		render(t, name, secret)
		c, err := source.Credentials(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{secret}, c.ClientSecrets)
	}
}

func TestAFileThatIsDamagedLeavesTheLastCredentials(t *testing.T) {
	name := filepath.Join(t.TempDir(), "auth0.json")
	source := File(name)
	render(t, name, "A")
	_, err := source.Credentials(t.Context())
	require.NoError(t, err)
	for _, text := range []string{"", `{"domain":"example.eu.au`, `{}`} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		c, err := source.Credentials(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{"A"}, c.ClientSecrets)
		require.ErrorContains(t, source.(Refresher).Refresh(t.Context()), name)
		_, err = File(name).Credentials(t.Context())
		require.ErrorContains(t, err, name, "there are none yet")
	}
	require.NoError(t, os.Remove(name))
	c, err := source.Credentials(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"A"}, c.ClientSecrets)
}

func TestAFileIsReadByManyWhileItIsReplaced(t *testing.T) {
	name := filepath.Join(t.TempDir(), "auth0.json")
	source := File(name)
	render(t, name, "A")
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for range 50 {
				c, err := source.Credentials(t.Context())
				assert.NoError(t, err)
				assert.Len(t, c.ClientSecrets, 1)
			}
		})
	}
	for i := range 50 {
		render(t, name, fmt.Sprint("secret-", i))
	}
	readers.Wait()
}

// TestAFileSaysWhyItCannotBeRead, while logins go on, until it can be again.
func TestAFileSaysWhyItCannotBeRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth0.json")
	source := File(path)
	lastError := source.(interface{ LastError() error }).LastError
	_, err := source.Credentials(t.Context())
	require.Error(t, err)
	assert.Equal(t, err, lastError())
	text := []byte(`{"domain":"d","client_id":"c","client_secret":"A"}`)
	for _, good := range []bool{true, false, true} {
		content := text
		if !good {
			content = text[:10]
		}
		require.NoError(t, os.WriteFile(path, content, 0o600))
		c, err := source.Credentials(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{"A"}, c.ClientSecrets)
		assert.Equal(t, good, lastError() == nil)
	}
}
