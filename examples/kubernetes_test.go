package examples

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// login is what a Kubernetes example logs in to Vault with.
type login struct {
	role, account, namespace, audience any
}

// loginOf has what each example says of it, where its program looks for that.
var loginOf = map[string]func(all map[string]resource) login{
	"vault-secrets-operator/shop.yaml": func(all map[string]resource) login {
		auth := all["secrets.hashicorp.com/v1beta1 VaultAuth"]
		return login{
			role: auth.at("spec", "kubernetes", "role"), account: auth.at("spec", "kubernetes", "serviceAccount"),
			namespace: auth.at("metadata", "namespace"), audience: only(auth.at("spec", "kubernetes", "audiences")),
		}
	},
	"external-secrets/shop.yaml": func(all map[string]resource) login {
		generator := all["generators.external-secrets.io/v1alpha1 VaultDynamicSecret"]
		kubernetes := resource(generator.at("spec", "provider", "auth", "kubernetes").(map[string]any))
		return login{
			role: kubernetes["role"], account: kubernetes.at("serviceAccountRef", "name"),
			namespace: generator.at("metadata", "namespace"), audience: only(kubernetes.at("serviceAccountRef", "audiences")),
		}
	},
	"csi-provider/shop.yaml": func(all map[string]resource) login {
		class, pod := all["secrets-store.csi.x-k8s.io/v1 SecretProviderClass"], all["apps/v1 Deployment"]
		return login{
			role: class.at("spec", "parameters", "roleName"), account: pod.at("spec", "template", "spec", "serviceAccountName"),
			namespace: pod.at("metadata", "namespace"), audience: class.at("spec", "parameters", "audience"),
		}
	},
	"agent-injector/shop.yaml": injectedLogin,
	"login-proxy/grafana.yaml": injectedLogin,
}

// injectedLogin is what the annotations for the Agent Injector say.
func injectedLogin(all map[string]resource) login {
	pod := all["apps/v1 Deployment"]
	annotation := func(name string) any {
		return pod.at("spec", "template", "metadata", "annotations", "vault.hashicorp.com/"+name)
	}
	l := login{
		role: annotation("role"), account: pod.at("spec", "template", "spec", "serviceAccountName"),
		namespace: pod.at("metadata", "namespace"),
	}
	volumes, _ := pod.at("spec", "template", "spec", "volumes").([]any)
	for _, each := range volumes {
		volume := resource(each.(map[string]any))
		token := func(field string) any { return volume.at("projected", "sources", "serviceAccountToken", field) }
		if volume["name"] == annotation("agent-service-account-token-volume-name") && token("path") != nil {
			l.audience = token("audience") // without the annotation the Agent has the API server's
		}
	}
	return l
}

// only is the one element of a list; nil: it is none, or has others.
func only(list any) any {
	if all, ok := list.([]any); ok && len(all) == 1 {
		return all[0]
	}
	return nil
}

// kubernetesRole is the Vault role for all Kubernetes examples, in the document.
var kubernetesRole = regexp.MustCompile(`vault write auth/kubernetes/role/(\w+) bound_service_account_names=(\w+) ` +
	`bound_service_account_namespaces=(\w+) \\\n +token_policies=\w+ audience=(\w+) `)

// TestKubernetesLogins: each example logs in as the documented role wants it. Vault
// refuses a token for another audience.
func TestKubernetesLogins(t *testing.T) {
	document, err := os.ReadFile("../docs/examples.md")
	require.NoError(t, err)
	found := kubernetesRole.FindStringSubmatch(string(document))
	require.NotNil(t, found)
	want := login{role: found[1], account: found[2], namespace: found[3], audience: found[4]}
	for file, of := range loginOf {
		assert.Equal(t, want, of(resources(t, file)), file)
	}
}

// TestInjectedFileIsReadable by an application that runs as another user than the
// Agent, which is user 100 of group 1000 unless it is told to be the application's.
func TestInjectedFileIsReadable(t *testing.T) {
	for _, file := range []string{"agent-injector/shop.yaml", "login-proxy/grafana.yaml"} {
		pod := resources(t, file)["apps/v1 Deployment"]
		annotations := pod.at("spec", "template", "metadata", "annotations").(map[string]any)
		perms, narrowed := annotations["vault.hashicorp.com/agent-inject-perms-auth0.json"].(string)
		if !narrowed {
			perms = "0644" // the Agent's
		}
		mode, err := strconv.ParseUint(perms, 8, 32)
		require.NoError(t, err)
		assert.NotZero(t, mode&0o004, "%s: %s", file, perms)
	}
}
