package examples

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"vault-plugin-secrets-auth0/auth0login"
)

// defaultTTL is that of a role.
const defaultTTL = 15 * time.Minute

// resource is a document of YAML for Kubernetes.
type resource map[string]any

// at is what is found at a path of fields; lists are passed through at their
// first element.
func (r resource) at(path ...string) any {
	var found any = map[string]any(r)
	for _, field := range path {
		if list, ok := found.([]any); ok && len(list) > 0 {
			found = list[0]
		}
		object, ok := found.(map[string]any)
		if !ok {
			return nil
		}
		found = object[field]
	}
	return found
}

func (r resource) kind() string { return fmt.Sprint(r["apiVersion"], " ", r["kind"]) }

// resources are the documents of a file, by API version and kind.
func resources(t *testing.T, file string) map[string]resource {
	t.Helper()
	text, err := os.ReadFile(filepath.Clean(file))
	require.NoError(t, err)
	found := map[string]resource{}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document map[string]any
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err, file)
		r := resource(document)
		require.NotContains(t, found, r.kind())
		found[r.kind()] = r
	}
}

// fields are the paths of all fields below a value.
func fields(value any, path string) []string {
	switch v := value.(type) {
	case map[string]any:
		var all []string
		for field, below := range v {
			all = append(all, fields(below, strings.TrimPrefix(path+"."+field, "."))...)
		}
		return all
	case []any:
		var all []string
		for _, below := range v {
			all = append(all, fields(below, path)...)
		}
		return all
	default:
		return []string{path}
	}
}

// known says whether a field is one of those; what ends in a dot or a dash stands
// for all that begin so.
func known(field string, all []string) bool {
	return slices.ContainsFunc(all, func(each string) bool {
		return field == each || strings.HasSuffix(each, ".") && strings.HasPrefix(field, each) ||
			strings.HasSuffix(each, "-") && strings.HasPrefix(field, each)
	})
}

// TestFieldsOfKubernetesExamples: every field is one that its kind has.
func TestFieldsOfKubernetesExamples(t *testing.T) {
	files, err := filepath.Glob("*/*.yaml")
	require.NoError(t, err)
	files = slices.DeleteFunc(files, func(file string) bool { return filepath.Dir(file) == "helm" }) // values: TestHelmValues
	require.Len(t, files, 5)
	for _, file := range files {
		for kind, r := range resources(t, file) {
			allowed := kindFields[kind]
			require.NotEmpty(t, allowed, "%s: %s", file, kind)
			assert.Equal(t, "shop", r.at("metadata", "namespace"), "%s: %s", file, kind)
			assert.NotEmpty(t, r.at("metadata", "name"), "%s: %s", file, kind)
			for _, field := range fields(r["spec"], "") {
				assert.True(t, known(field, allowed), "%s: %s has no field %s", file, kind, field)
			}
			for field := range r {
				assert.Contains(t, []string{"apiVersion", "kind", "metadata", "spec"}, field, file)
			}
		}
	}
}

// sample is an answer of static-creds/, as the operators have it.
func sample() map[string]any {
	return map[string]any{
		"domain": "example.eu.auth0.com", "client_id": "app", "client_secret": "one", "fallback_client_secret": "two",
		"client_secrets": []any{"one", "two"}, "ttl": 60, "rotation_period": 3600, "last_vault_rotation": "2026-01-01T00:00:00Z",
	}
}

func toJSON(value any) (string, error) {
	text, err := json.Marshal(value)
	return string(text), err
}

func rendered(t *testing.T, text string, functions template.FuncMap, data any) []byte {
	t.Helper()
	parsed, err := template.New("").Option("missingkey=error").Funcs(functions).Parse(text)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, parsed.Execute(&out, data))
	return out.Bytes()
}

func requireCredentials(t *testing.T, text []byte) {
	t.Helper()
	credentials, err := auth0login.ParseCredentials(text)
	require.NoError(t, err, "%s", text)
	assert.Equal(t, auth0login.Credentials{Domain: "example.eu.auth0.com", ClientID: "app", ClientSecrets: []string{"one", "two"}}, credentials)
	var found map[string]any
	require.NoError(t, json.Unmarshal(text, &found))
	assert.Len(t, found, 3, "nothing that differs from read to read")
}

func TestVaultSecretsOperator(t *testing.T) {
	all := resources(t, "vault-secrets-operator/shop.yaml")
	secret := all["secrets.hashicorp.com/v1beta1 VaultDynamicSecret"]
	assert.Equal(t, true, secret.at("spec", "allowStaticCreds"))
	assert.Equal(t, "static-creds/shop", secret.at("spec", "path"))
	auth := all["secrets.hashicorp.com/v1beta1 VaultAuth"]
	assert.Equal(t, auth.at("metadata", "name"), secret.at("spec", "vaultAuthRef"))
	assert.Equal(t, all["secrets.hashicorp.com/v1beta1 VaultConnection"].at("metadata", "name"), auth.at("spec", "vaultConnectionRef"))
	text := secret.at("spec", "destination", "transformation", "templates", "auth0.json", "text").(string)
	functions := template.FuncMap{
		"get":        func(from map[string]any, field string) any { return from[field] },
		"mustToJson": toJSON,
		"sortAlpha": func(list []any) []string {
			texts := make([]string, len(list))
			for i := range list {
				texts[i] = fmt.Sprint(list[i])
			}
			slices.Sort(texts)
			return texts
		},
		"dict": func(pairs ...any) map[string]any {
			made := map[string]any{}
			for pair := range slices.Chunk(pairs, 2) {
				made[pair[0].(string)] = pair[1]
			}
			return made
		},
	}
	staged := rendered(t, text, functions, map[string]any{"Secrets": sample()})
	requireCredentials(t, staged)
	swapped := sample()
	swapped["client_secret"], swapped["fallback_client_secret"] = "two", "one"
	swapped["client_secrets"] = []any{"two", "one"}
	assert.Equal(t, string(staged), string(rendered(t, text, functions, map[string]any{"Secrets": swapped})), "no restart when they change places")
}

func TestExternalSecretsOperator(t *testing.T) {
	all := resources(t, "external-secrets/shop.yaml")
	generator := all["generators.external-secrets.io/v1alpha1 VaultDynamicSecret"]
	assert.Equal(t, "/auth0/static-creds/shop", generator.at("spec", "path"))
	secret := all["external-secrets.io/v1 ExternalSecret"]
	ref := secret.at("spec", "dataFrom", "sourceRef", "generatorRef").(map[string]any)
	assert.Equal(t, generator.kind(), fmt.Sprint(ref["apiVersion"], " ", ref["kind"]))
	assert.Equal(t, generator.at("metadata", "name"), ref["name"])
	every, err := time.ParseDuration(secret.at("spec", "refreshInterval").(string))
	require.NoError(t, err)
	assert.LessOrEqual(t, every, defaultTTL/2)
	data := map[string]string{} // the generator makes text of what is no text
	for field, value := range sample() {
		text, ok := value.(string)
		if !ok {
			text, err = toJSON(value)
			require.NoError(t, err)
		}
		data[field] = text
	}
	text := secret.at("spec", "target", "template", "data", "auth0.json").(string)
	requireCredentials(t, rendered(t, text, template.FuncMap{"toJson": toJSON}, data))
}

func TestCSIProvider(t *testing.T) {
	all := resources(t, "csi-provider/shop.yaml")
	class := all["secrets-store.csi.x-k8s.io/v1 SecretProviderClass"]
	volume := all["apps/v1 Deployment"].at("spec", "template", "spec", "volumes")
	assert.Equal(t, class.at("metadata", "name"), resource{"v": volume}.at("v", "csi", "volumeAttributes", "secretProviderClass"))
	parameters := class.at("spec", "parameters").(map[string]any)
	for parameter := range parameters {
		assert.Contains(t, csiParameters, parameter)
	}
	var objects []map[string]string
	require.NoError(t, yaml.Unmarshal([]byte(parameters["objects"].(string)), &objects))
	require.Len(t, objects, 3)
	for _, object := range objects {
		for field := range object {
			assert.Contains(t, csiObject, field)
		}
		assert.Equal(t, "auth0/static-creds/shop", object["secretPath"], "of creds, each poll would make a lease")
		assert.Contains(t, sample(), object["secretKey"])
	}
}

func TestAgentInjector(t *testing.T) {
	for _, file := range []string{"agent-injector/shop.yaml", "login-proxy/grafana.yaml"} {
		t.Run(file, func(t *testing.T) { checkInjector(t, resources(t, file)["apps/v1 Deployment"]) })
	}
}

func checkInjector(t *testing.T, deployment resource) {
	t.Helper()
	annotations := deployment.at("spec", "template", "metadata", "annotations").(map[string]any)
	for annotation, value := range annotations {
		name, ours := strings.CutPrefix(annotation, "vault.hashicorp.com/")
		require.True(t, ours, annotation)
		assert.True(t, known(name, injectorAnnotations), annotation)
		assert.IsType(t, "", value, "%s: annotations are text", annotation)
	}
	file := "auth0.json"
	assert.Equal(t, "auth0/creds/shop", annotations["vault.hashicorp.com/agent-inject-secret-"+file])
	text := annotations["vault.hashicorp.com/agent-inject-template-"+file].(string)
	requireCredentials(t, rendered(t, text, template.FuncMap{
		"secret": func(path string) any {
			require.Equal(t, "auth0/creds/shop", path)
			return struct{ Data map[string]any }{sample()}
		},
		"toJSON": toJSON,
	}, nil))
}

// TestSystemdUnits has systemd check the units, with programs in them that are
// there.
func TestSystemdUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("skipped: systemd-analyze is not installed")
	}
	units, err := filepath.Glob("systemd/*")
	require.NoError(t, err)
	dir, args := t.TempDir(), []string{"verify"}
	for _, unit := range units {
		text, err := os.ReadFile(filepath.Clean(unit))
		require.NoError(t, err)
		there := strings.NewReplacer("/usr/bin/vault", "/bin/true", "/usr/local/bin/shop", "/bin/true").Replace(string(text))
		copied := filepath.Join(dir, filepath.Base(unit))
		require.NoError(t, os.WriteFile(copied, []byte(there), 0o600))
		args = append(args, copied)
	}
	require.Len(t, args, 5)
	out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Empty(t, string(out))
}

// TestGitHubRoles bind what may have the secrets or the token, by more than the
// repository, and are the roles that the workflows ask for.
func TestGitHubRoles(t *testing.T) {
	for _, r := range []struct{ role, policy, workflow, job, document string }{
		{"role.json", "shop", "e2e.yml", "e2e", "examples.md"},
		{"orders-role.json", "orders", "orders.yml", "smoke", "tokens.md"},
	} {
		t.Run(r.workflow, func(t *testing.T) { testGitHubRole(t, r.role, r.policy, r.workflow, r.job, r.document) })
	}
}

func testGitHubRole(t *testing.T, file, policy, workflowFile, job, documentFile string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("github-actions", file))
	require.NoError(t, err)
	var role struct {
		BoundAudiences []string       `json:"bound_audiences"`
		BoundClaims    map[string]any `json:"bound_claims"`
		TokenPolicies  []string       `json:"token_policies"`
		TokenTTL       string         `json:"token_ttl"`
	}
	require.NoError(t, json.Unmarshal(text, &role))
	assert.Regexp(t, `^[\w-]+/[\w-]+$`, role.BoundClaims["repository"], "one repository")
	ref, environment := role.BoundClaims["ref"], role.BoundClaims["environment"]
	require.True(t, ref != nil || environment != nil, "whoever may push a branch would have the secrets")
	for claim, value := range role.BoundClaims {
		require.IsType(t, "", value, "%s: one value", claim)
		assert.NotContains(t, value, "*", "%s", claim)
	}
	assert.Equal(t, []string{policy}, role.TokenPolicies)

	workflow := resources(t, "github-actions/"+workflowFile)["<nil> <nil>"]
	require.NotNil(t, workflow)
	if environment != nil {
		assert.Equal(t, environment, workflow.at("jobs", job, "environment"))
	}
	var login map[string]any
	for _, step := range workflow.at("jobs", job, "steps").([]any) {
		step := step.(map[string]any)
		if uses, _ := step["uses"].(string); strings.HasPrefix(uses, "hashicorp/vault-action@") {
			login = step["with"].(map[string]any)
			break
		}
	}
	require.NotNil(t, login)
	assert.Equal(t, []string{login["jwtGithubAudience"].(string)}, role.BoundAudiences)
	ttl, err := time.ParseDuration(role.TokenTTL)
	require.NoError(t, err)
	assert.LessOrEqual(t, ttl, defaultTTL)

	document, err := os.ReadFile(filepath.Join("../docs", documentFile))
	require.NoError(t, err)
	assert.Contains(t, string(document),
		fmt.Sprintf("vault write auth/%s/role/%s @examples/github-actions/%s", login["path"], login["role"], file))
}

// TestTerraformIsFormatted, and can be parsed. That it does what it says is shown
// by the integration tests.
func TestTerraformIsFormatted(t *testing.T) {
	terraform, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("skipped: terraform is not installed")
	}
	out, err := exec.CommandContext(t.Context(), terraform, "fmt", "-check", "-diff", "-no-color", "terraform/vault").CombinedOutput()
	require.NoError(t, err, "%s", out)
}
