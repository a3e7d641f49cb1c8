package tenant

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEverySecretHasSecretsOldAndNewAndTokens(t *testing.T) {
	tn, err := Start(Options{})
	require.NoError(t, err)
	defer tn.Close()
	app := tn.AddApplication(Application{ClientSecret: "first"})
	tn.SetSecretInDashboard(app.ClientID, "second")
	tn.tokens.add("token", nil, tn.now(), tn.lifetime)
	assert.ElementsMatch(t, []string{"first", "second", "token"}, tn.EverySecret())
}
