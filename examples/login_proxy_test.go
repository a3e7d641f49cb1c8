package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLoginProxyUnits has systemd check the units, and how much the service could do. What
// it may read is what the Agent's unit makes.
func TestLoginProxyUnits(t *testing.T) {
	unit, agent := text(t, "login-proxy/auth0-login-proxy.service"), text(t, "systemd/shop-auth0.service")
	assert.Contains(t, unit, "-credentials /run/shop/auth0.json ")
	assert.Contains(t, text(t, "vault-agent/template.hcl"), `"/run/shop/auth0.json"`)
	assert.Contains(t, unit, "\nSupplementaryGroups="+regexp.MustCompile(`(?m)^Group=(.+)$`).FindStringSubmatch(agent)[1]+"\n")

	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("skipped: systemd-analyze is not installed")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "auth0-login-proxy.service")
	for name, content := range map[string]string{
		file: unit, filepath.Join(dir, "shop-auth0.service"): agent,
		filepath.Join(dir, "auth0-login-proxy.socket"): text(t, "login-proxy/auth0-login-proxy.socket"),
	} {
		there := strings.NewReplacer("/usr/local/bin/auth0-login-proxy", "/bin/true", "/usr/bin/vault", "/bin/true").Replace(content)
		require.NoError(t, os.WriteFile(name, []byte(there), 0o600))
	}
	out, err := exec.CommandContext(t.Context(), analyze, "verify", file, filepath.Join(dir, "auth0-login-proxy.socket")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Empty(t, string(out))
	out, err = exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=15", file).CombinedOutput()
	require.NoError(t, err, "its exposure is more than 1.5 of 10:\n%s", out)
}

// TestLoginProxySidecar: the application has the local secret, and only the proxy the file
// with the real ones.
func TestLoginProxySidecar(t *testing.T) {
	pod := resources(t, "login-proxy/grafana.yaml")["apps/v1 Deployment"]
	assert.Equal(t, "login-proxy", pod.at("spec", "template", "metadata", "annotations", "vault.hashicorp.com/agent-inject-containers"))
	containers := map[any]resource{}
	for _, each := range pod.at("spec", "template", "spec", "containers").([]any) {
		container := resource(each.(map[string]any))
		containers[container["name"]] = container
	}
	require.Len(t, containers, 2)
	env := map[any]resource{}
	for _, each := range containers["grafana"]["env"].([]any) {
		variable := resource(each.(map[string]any))
		env[variable["name"]] = variable
	}
	secret := env["GF_AUTH_GENERIC_OAUTH_CLIENT_SECRET"].at("valueFrom", "secretKeyRef").(map[string]any)
	assert.Equal(t, "http://127.0.0.1:8404/oauth/token", env["GF_AUTH_GENERIC_OAUTH_TOKEN_URL"]["value"])
	for _, name := range []string{"AUTH", "API"} {
		assert.Contains(t, env["GF_AUTH_GENERIC_OAUTH_"+name+"_URL"]["value"], "https://example.eu.auth0.com/", "to Auth0 itself")
	}

	proxy := containers["login-proxy"]
	assert.Regexp(t, `^ghcr\.io/OWNER/NAME/auth0-login-proxy:0\.1\.0@sha256:[0-9a-f]{64}$`, proxy["image"])
	assert.Contains(t, proxy["args"], "-credentials=/vault/secrets/auth0.json")
	assert.Contains(t, proxy["args"], "-local-secret-file="+proxy.at("volumeMounts", "mountPath").(string)+"/"+secret["key"].(string))
	volume := resource(pod.at("spec", "template", "spec", "volumes").([]any)[0].(map[string]any))
	assert.Equal(t, proxy.at("volumeMounts", "name"), volume["name"])
	assert.Equal(t, secret["name"], volume.at("secret", "secretName"))
	// The proxy runs as user and group 65532, and takes no file that everybody may read.
	assert.EqualValues(t, 0o440, volume.at("secret", "defaultMode"))
	assert.EqualValues(t, 65532, pod.at("spec", "template", "spec", "securityContext", "fsGroup"))
	assert.NotContains(t, containers["grafana"], "volumeMounts")
}

// TestLoginProxyRecipesShowTheFiles: what is shown of a program that is run is a part of
// the file that is linked to before it.
func TestLoginProxyRecipesShowTheFiles(t *testing.T) {
	document := text(t, "../docs/login-proxy-recipes.md")
	for language, file := range map[string]string{
		"apache": "login-proxy/apache.conf", "js": "login-proxy/node/app.js", "yaml": "login-proxy/application.yml",
	} {
		shown := regexp.MustCompile("(?s)\\]\\(\\.\\./examples/" + regexp.QuoteMeta(file) + "\\)[^`]*```" + language + "\n(.*?)```").FindStringSubmatch(document)
		require.NotNil(t, shown, file)
		indent := regexp.MustCompile(`(?m)^ +`) // a part may be shown without what is around it
		for _, part := range strings.Split(shown[1], "\n\n") {
			assert.Contains(t, indent.ReplaceAllString(text(t, file), ""), indent.ReplaceAllString(part, ""))
		}
	}
}

// loginProxyFlag is a flag of the login proxy in its arguments or in a document.
var loginProxyFlag = regexp.MustCompile("(?m)(?:^|[\\s`])-([a-z][a-z-]+)")

// TestLoginProxyFlags: those in the examples and documents are flags of the program.
func TestLoginProxyFlags(t *testing.T) {
	run := exec.CommandContext(t.Context(), "go", "run", "-trimpath", "../cmd/auth0-login-proxy", "-h")
	run.Env = append(os.Environ(), "CGO_ENABLED=0") // with what make build has compiled
	help, err := run.CombinedOutput()
	require.NoError(t, err, "%s", help)
	unit := text(t, "login-proxy/auth0-login-proxy.service")
	used := regexp.MustCompile(`(?ms)^ExecStart=\S+(.*?)^Restart=`).FindStringSubmatch(unit)[1]
	used += regexp.MustCompile(`(?ms)^          args:\n(.*?)^          [a-z]`).FindStringSubmatch(text(t, "login-proxy/grafana.yaml"))[1]
	flags := loginProxyFlag.FindAllStringSubmatch(used, -1)
	require.Greater(t, len(flags), 7)
	documents, err := filepath.Glob("../docs/login-proxy*.md")
	require.NoError(t, err)
	require.NotEmpty(t, documents)
	for _, document := range documents {
		flags = append(flags, regexp.MustCompile("`-([a-z][a-z-]+)[`=]").FindAllStringSubmatch(text(t, document), -1)...)
	}
	for _, flag := range flags {
		assert.Regexp(t, `(?m)^ +-`+flag[1]+`\b`, string(help))
	}
}
