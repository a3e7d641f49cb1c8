package examples

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// chartValues are the values of the charts that the examples set, as their values.yaml
// has them (vault-helm 0.34, openbao-helm 0.29).
var chartValues = []string{
	"server.extraInitContainers.", "server.volumes.", "server.volumeMounts.",
	"server.ha.enabled", "server.ha.raft.enabled", "server.ha.raft.setNodeId", "server.ha.raft.config",
}

// TestHelmValues: they are values that the charts have, and what the init container
// writes to is what the server reads from.
func TestHelmValues(t *testing.T) {
	for file, folder := range map[string]string{"helm/vault.yaml": "/vault/plugins", "helm/openbao.yaml": "/openbao/plugins"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var decoded map[string]any
		require.NoError(t, yaml.Unmarshal(text, &decoded), file)
		values := resource(decoded)
		for _, field := range fields(decoded, "") {
			assert.True(t, known(field, chartValues), "%s: %s", file, field)
		}
		init := resource(values.at("server", "extraInitContainers").([]any)[0].(map[string]any))
		assert.Equal(t, []any{"install", "/plugins"}, init["args"])
		assert.Equal(t, "/plugins", init.at("volumeMounts", "mountPath"))
		assert.Regexp(t, `^ghcr\.io/OWNER/NAME:v?0\.1\.0@sha256:[0-9a-f]{64}$`, init["image"])
		volume := values.at("server", "volumes", "name")
		assert.Equal(t, volume, init.at("volumeMounts", "name"))
		assert.Equal(t, volume, values.at("server", "volumeMounts", "name"))
		assert.Equal(t, folder, values.at("server", "volumeMounts", "mountPath"))
		assert.Equal(t, true, values.at("server", "volumeMounts", "readOnly"))
		config := values.at("server", "ha", "raft", "config").(string)
		assert.Regexp(t, `(?m)^plugin_directory += "`+folder+`"$`, config)
		assert.Equal(t, strings.Count(config, "{"), strings.Count(config, "}"))
	}
}

// TestHelmValuesNameTheBinary: as `install` names it.
func TestHelmValuesNameTheBinary(t *testing.T) {
	text, err := os.ReadFile("helm/openbao.yaml")
	require.NoError(t, err)
	assert.Contains(t, string(text), `command   = "vault-plugin-secrets-auth0_0.1.0"`)
	assert.Contains(t, string(text), `version   = "v0.1.0"`)
}
