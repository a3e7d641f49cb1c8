// Package auth0application tests the Terraform example beside it, as far as that
// goes without Auth0's provider.
package auth0application

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/requirements"
)

// terraform gives the program, or skips the test.
func terraform(t *testing.T) func(dir, stdin string, args ...string) (string, error) {
	t.Helper()
	binary, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("skipped: terraform is not installed")
	}
	return func(dir, stdin string, args ...string) (string, error) {
		command := exec.CommandContext(t.Context(), binary, args...)
		command.Dir, command.Stdin = dir, strings.NewReader(stdin)
		for _, variable := range os.Environ() {
			if !strings.HasPrefix(variable, "TF_") {
				command.Env = append(command.Env, variable)
			}
		}
		command.Env = append(command.Env, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1")
		out, err := command.CombinedOutput()
		return string(out), err
	}
}

func TestFormat(t *testing.T) {
	out, err := terraform(t)(".", "", "fmt", "-check", "-diff", "-no-color")
	require.NoError(t, err, out)
}

var localsBlock = regexp.MustCompile(`(?ms)^locals \{.*?^\}\n`)

// TestLeastScopes: the scopes for what is wanted are those of the engine's own
// list. They are computed by Terraform itself, of the example without its
// resources, for which the provider would be needed.
func TestLeastScopes(t *testing.T) {
	run := terraform(t)
	dir := t.TempDir()
	main, err := os.ReadFile("main.tf")
	require.NoError(t, err)
	variables, err := os.ReadFile("variables.tf")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "variables.tf"), variables, 0o600))
	output := "output \"scopes\" {\n  value = local.scopes\n}\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.tf"), append(localsBlock.Find(main), output...), 0o600))
	out, err := run(dir, "", "init", "-no-color")
	require.NoError(t, err, out)

	for _, want := range []struct {
		readSecrets, byKey, rotateKeys bool
	}{{readSecrets: true}, {}, {readSecrets: true, byKey: true}, {readSecrets: true, rotateKeys: true}} {
		later := []string{
			"-no-color", "-var=domain=example.eu.auth0.com",
			fmt.Sprintf("-var=read_secrets=%t", want.readSecrets), fmt.Sprintf("-var=rotate_keys=%t", want.rotateKeys),
		}
		first := append(slices.Clip(later), "-var=client_secret="+strings.Repeat("secret", 8))
		if want.byKey {
			later = append(later, "-var=public_key=PEM")
			first = later
		}
		out, err := run(dir, "", append([]string{"apply", "-auto-approve"}, first...)...)
		require.NoError(t, err, out)
		out, err = run(dir, "", append([]string{"plan", "-detailed-exitcode"}, later...)...)
		require.NoError(t, err, "a later plan, without the secret: %s", out)
		out, err = run(dir, "", "output", "-json", "scopes")
		require.NoError(t, err, out)
		var scopes []string
		require.NoError(t, json.Unmarshal([]byte(out), &scopes), out)
		assert.Equal(t, requirements.Wanted(want.readSecrets, want.byKey || want.rotateKeys), scopes)
	}
	for _, refused := range []struct {
		says string
		args []string
	}{
		{"without scheme and path", []string{"-var=domain=https://example.eu.auth0.com/", "-var=public_key=PEM"}},
		{"read:client_credentials", []string{"-var=domain=example.eu.auth0.com", "-var=read_secrets=false", "-var=public_key=PEM"}},
		{"read:client_credentials", []string{"-var=domain=example.eu.auth0.com", "-var=read_secrets=false", "-var=rotate_keys=true"}},
		{"at least 48 characters", []string{"-var=domain=example.eu.auth0.com", "-var=client_secret=short"}},
	} {
		out, err = run(dir, "", append([]string{"apply", "-no-color", "-auto-approve"}, refused.args...)...)
		require.Error(t, err)
		assert.Contains(t, strings.Join(strings.Fields(strings.ReplaceAll(out, "│", " ")), " "), refused.says)
		assert.NotContains(t, out, "short")
	}
}

// schema has the arguments of the provider's resources that are used here, as
// its documentation names them (auth0/auth0 1.52).
var schema = map[string]string{
	"auth0_client":             "name description app_type grant_types oidc_conformant jwt_configuration.alg",
	"auth0_client_credentials": "client_id authentication_method client_secret_wo client_secret_wo_version private_key_jwt.credentials.name private_key_jwt.credentials.credential_type private_key_jwt.credentials.algorithm private_key_jwt.credentials.pem",
	"auth0_client_grant":       "client_id audience scopes",
}

var (
	resourceLine = regexp.MustCompile(`^resource "(\w+)" "\w+" \{`)
	blockLine    = regexp.MustCompile(`^ +(\w+) \{`)
	argumentLine = regexp.MustCompile(`^ +(\w+) += `)
)

// TestArguments: no argument that the provider does not have.
func TestArguments(t *testing.T) {
	main, err := os.ReadFile("main.tf")
	require.NoError(t, err)
	used, resource := 0, ""
	var blocks []string
	for line := range strings.Lines(string(main)) {
		switch {
		case resourceLine.MatchString(line):
			resource, blocks = resourceLine.FindStringSubmatch(line)[1], nil
			require.Contains(t, schema, resource)
		case strings.HasPrefix(line, "}"):
			resource = ""
		case resource == "":
		case blockLine.MatchString(line):
			blocks = append(blocks, blockLine.FindStringSubmatch(line)[1])
		case strings.TrimSpace(line) == "}":
			blocks = blocks[:len(blocks)-1]
		case argumentLine.MatchString(line):
			name := argumentLine.FindStringSubmatch(line)[1]
			if name == "count" || len(blocks) > 0 && blocks[0] == "lifecycle" {
				continue // Terraform's own
			}
			used++
			assert.Contains(t, strings.Fields(schema[resource]), strings.Join(append(blocks, name), "."), resource)
		}
	}
	assert.Equal(t, 19, used)
}
