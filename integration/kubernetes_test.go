//go:build integration

package integration

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/devvault"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// The examples for Kubernetes, on a real API server. No kubelet and no controller
// runs: a Secret is read from the API, and a Deployment makes no pods.

// program is the path of a program that make kubernetes has, or that only whoever
// has it can name.
func program(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Skipf("skipped: %s is not set; make kubernetes builds what can be built", variable)
	}
	path, err := filepath.Abs(path)
	require.NoError(t, err)
	require.FileExists(t, path, variable)
	return path
}

// cluster is a running API server. Whoever has the token may do everything.
type cluster struct {
	t          *testing.T
	dir, logs  string
	url, ca    string
	kubeconfig string // of the token
	client     *http.Client
}

const adminToken = "admin-token-of-a-test"

func newCluster(t *testing.T, logs string) *cluster {
	t.Helper()
	binary := program(t, "BIN_KUBERNETES")
	dir, err := os.MkdirTemp("", "kube") // etcd's socket is in it: such a path has to be short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	address, err := devvault.FreeAddress()
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	c := &cluster{t: t, dir: dir, logs: logs, url: "https://127.0.0.1:" + port}
	tokens, key, certificate := filepath.Join(dir, "tokens.csv"), filepath.Join(dir, "accounts.pem"), filepath.Join(dir, "apiserver.crt")
	writeFile(t, tokens, adminToken+`,admin,admin,"system:masters"`)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalECPrivateKey(private)
	require.NoError(t, err)
	writeFile(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
	began := time.Now()
	server := c.run(binary, nil, dir,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+dir,
		"--authorization-mode=RBAC", "--token-auth-file="+tokens, "--endpoint-reconciler-type=none",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+key, "--service-account-signing-key-file="+key,
		"--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, server.WaitUntil(ctx, "ready", func() bool {
		trusted, err := os.ReadFile(certificate)
		roots := x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(trusted) {
			return false
		}
		c.ca = string(trusted)
		c.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 10}}
		status, _, err := c.call(http.MethodGet, "/readyz", nil)
		return err == nil && status == http.StatusOK
	}))
	t.Logf("the API server is ready after %s", time.Since(began).Round(100*time.Millisecond))
	c.kubeconfig = filepath.Join(dir, "kubeconfig")
	writeFile(t, c.kubeconfig, fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: admin}}]
users: [{name: admin, user: {token: %q}}]
clusters: [{name: test, cluster: {server: %q, certificate-authority: %q}}]
`, adminToken, c.url, certificate))
	return c
}

// run runs a program until the test ends.
func (c *cluster) run(binary string, env []string, args ...string) *devvault.Program {
	c.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append([]string{"HOME=" + c.dir}, env...)
	running, err := devvault.StartProgram(cmd, filepath.Join(c.logs, filepath.Base(binary)+".log"))
	require.NoError(c.t, err)
	c.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = running.Stop(ctx)
	})
	return running
}

// call asks the API server. What is sent is applied if the method is PATCH.
func (c *cluster) call(method, path string, body any) (status int, answer map[string]any, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(context.Background(), method, c.url+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/apply-patch+yaml")
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err = io.ReadAll(resp.Body)
	_ = json.Unmarshal(text, &answer) // some answers are no JSON
	return resp.StatusCode, answer, err
}

// object is what the API server has, or is to have.
type object map[string]any

// at is what is found at a path of fields.
func (o object) at(path ...string) any {
	var found any = map[string]any(o)
	for _, field := range path {
		below, _ := found.(map[string]any)
		found = below[field]
	}
	return found
}

func (o object) kind() string { return fmt.Sprint(o["apiVersion"], " ", o["kind"]) }

// objects are the documents of a file.
func objects(t *testing.T, text string) []object {
	t.Helper()
	var all []object
	for decoder := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o map[string]any
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		all = append(all, o)
	}
}

// path is where an object of this kind is, ok: if there is such a kind.
func (c *cluster) path(o object) (path string, ok bool) {
	c.t.Helper()
	version := fmt.Sprint(o["apiVersion"])
	base := "/apis/" + version
	if !strings.Contains(version, "/") {
		base = "/api/" + version
	}
	_, found, err := c.call(http.MethodGet, base, nil)
	require.NoError(c.t, err)
	kinds, _ := found["resources"].([]any)
	for _, each := range kinds {
		kind := object(each.(map[string]any))
		if kind["kind"] != o["kind"] || strings.Contains(fmt.Sprint(kind["name"]), "/") {
			continue
		}
		if kind["namespaced"] == true {
			base += "/namespaces/" + fmt.Sprint(o.at("metadata", "namespace"))
		}
		return fmt.Sprint(base, "/", kind["name"], "/", o.at("metadata", "name")), true
	}
	return "", false
}

// apply applies an object as kubectl apply --server-side does, with strict validation.
func (c *cluster) apply(o object, more string) (status int, answer map[string]any) {
	c.t.Helper()
	path, ok := c.path(o)
	require.True(c.t, ok, o.kind())
	status, answer, err := c.call(http.MethodPatch, path+"?fieldManager=test&fieldValidation=Strict"+more, o)
	require.NoError(c.t, err)
	return status, answer
}

func (c *cluster) mustApply(text string) {
	c.t.Helper()
	for _, o := range objects(c.t, text) {
		status, answer := c.apply(o, "")
		require.Less(c.t, status, http.StatusMultipleChoices, "%s: %v", o.kind(), answer["message"])
	}
}

// crds applies the CustomResourceDefinitions that are beside a program, and waits
// until they are served.
func (c *cluster) crds(binary string) {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(binary), "crds", "*_*.yaml"))
	require.NoError(c.t, err)
	require.NotEmpty(c.t, files, "the CRDs of %s are not in crds beside it", binary)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(c.t, err)
		for _, crd := range objects(c.t, string(text)) {
			status, answer := c.apply(crd, "")
			require.Less(c.t, status, http.StatusMultipleChoices, "%s: %v", file, answer["message"])
			version := object(crd.at("spec", "versions").([]any)[0].(map[string]any))
			of := object{"apiVersion": fmt.Sprint(crd.at("spec", "group"), "/", version["name"]), "kind": crd.at("spec", "names", "kind")}
			require.Eventually(c.t, func() bool { _, ok := c.path(of); return ok }, patience, 50*time.Millisecond, of.kind())
		}
	}
}

// get is an object; nil: it is not there.
func (c *cluster) get(path string) object {
	status, found, err := c.call(http.MethodGet, path, nil)
	if err != nil || status != http.StatusOK {
		return nil
	}
	return found
}

// accountToken is a token for an account, for the audiences.
func (c *cluster) accountToken(namespace, name string, audiences ...string) string {
	c.t.Helper()
	status, answer, err := c.call(http.MethodPost, "/api/v1/namespaces/"+namespace+"/serviceaccounts/"+name+"/token", object{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": object{"audiences": audiences},
	})
	require.NoError(c.t, err)
	require.Equal(c.t, http.StatusCreated, status, "%v", answer)
	return object(answer).at("status", "token").(string)
}

// shopCluster has the namespace and the service account of the examples, and the
// account by which Vault reviews tokens.
func shopCluster(t *testing.T, logs string) *cluster {
	t.Helper()
	c := newCluster(t, logs)
	c.mustApply(`
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: shop, namespace: shop}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: vault}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: vault, namespace: vault}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: vault}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects: [{kind: ServiceAccount, name: vault, namespace: vault}]
`)
	return c
}

// TestKubernetesManifests has the API server validate every manifest of the examples,
// as strictly as it can: by its own types, and by the CRDs of the operators.
func TestKubernetesManifests(t *testing.T) {
	t.Parallel()
	eso := program(t, "BIN_ESO")
	c := shopCluster(t, t.TempDir())
	c.crds(eso)
	if vso := os.Getenv("BIN_VSO"); vso != "" {
		c.crds(vso)
	}
	files, err := filepath.Glob("../examples/*/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		name := strings.TrimPrefix(file, "../examples/")
		if strings.HasPrefix(name, "helm/") {
			continue // values of a chart: no manifests
		}
		for _, o := range objects(t, example(t, name)) {
			if _, ok := c.path(o); !ok {
				t.Logf("%s: %s is not validated: its CRD is not here", name, o.kind())
				continue
			}
			status, answer := c.apply(o, "&dryRun=All")
			assert.Equal(t, http.StatusCreated, status, "%s: %s: %v", name, o.kind(), answer["message"])
			o["spec"].(map[string]any)["misspelt"] = "x"
			status, answer = c.apply(o, "&dryRun=All")
			assert.GreaterOrEqual(t, status, http.StatusBadRequest, "%s: %s: %v", name, o.kind(), answer)
			t.Logf("%s: %s is valid, and would not be with a field that is misspelt", name, o.kind())
		}
	}
}

// secretOf is the source of an application that reads a Secret.
type secretOf struct{ c *cluster }

const secretPath = "/api/v1/namespaces/shop/secrets/shop-auth0"

func (s secretOf) Credentials(context.Context) (auth0login.Credentials, error) {
	secret := s.c.get(secretPath)
	encoded, _ := secret.at("data", "auth0.json").(string)
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return auth0login.Credentials{}, err
	}
	return auth0login.ParseCredentials(text)
}

func (s secretOf) held() []string {
	credentials, err := s.Credentials(context.Background())
	if err != nil {
		return nil
	}
	return credentials.ClientSecrets
}

// acceptKubernetes has Vault take service accounts, by a real auth method, as
// docs/examples.md says it.
func (r *reader) acceptKubernetes(c *cluster, method string) {
	r.t.Helper()
	text, err := os.ReadFile(method)
	require.NoError(r.t, err)
	const name = "auth-kubernetes" // not that of one that is built in
	file := filepath.Join(r.Dir, "plugins", name)
	require.NoError(r.t, os.WriteFile(file, text, 0o700))
	client := r.Vault.Client()
	require.NoError(r.t, client.Sys().RegisterPluginWithContext(r.t.Context(), &api.RegisterPluginInput{
		Name: name, Type: api.PluginTypeCredential, Command: name, SHA256: fmt.Sprintf("%x", sha256.Sum256(text)),
	}))
	require.NoError(r.t, client.Sys().EnableAuthWithOptionsWithContext(r.t.Context(), "kubernetes", &api.EnableAuthOptions{Type: name}))
	_, err = client.Logical().WriteWithContext(r.t.Context(), "auth/kubernetes/config", map[string]any{
		"kubernetes_host": c.url, "kubernetes_ca_cert": c.ca, "token_reviewer_jwt": c.accountToken("vault", "vault"),
	})
	require.NoError(r.t, err)

	document, err := os.ReadFile("../docs/examples.md")
	require.NoError(r.t, err)
	blocks := readBlocks(r.t, string(document))
	for _, command := range []string{"vault policy write shop - ", "vault write auth/kubernetes/role/shop "} {
		i := slices.IndexFunc(blocks, func(b block) bool { return strings.Contains(b.steps[0].commands, command) })
		require.NotEqual(r.t, -1, i, command)
		printed, err := r.run("set -e\n" + blocks[i].steps[0].commands)
		require.NoError(r.t, err, printed)
	}
	login := func(audience string) error {
		_, err := client.Logical().WriteWithContext(r.t.Context(), "auth/kubernetes/login", map[string]any{
			"role": "shop", "jwt": c.accountToken("shop", "shop", audience),
		})
		return err
	}
	require.NoError(r.t, login("vault"))
	require.Error(r.t, login("another"))
}

// readsOfShop counts the answers of static-creds/shop, by the audit log.
func (r *reader) readsOfShop() int {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.Dir, auditLog))
	require.NoError(r.t, err)
	count := 0
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"type":"response"`) && strings.Contains(line, `"path":"auth0/static-creds/shop"`) {
			count++
		}
	}
	return count
}

// writes is what has been written of what the operator may write, as one value.
func (c *cluster) writes() string {
	deployment := c.get("/apis/apps/v1/namespaces/shop/deployments/shop")
	return fmt.Sprint("Secret ", c.get(secretPath).at("metadata", "resourceVersion"), ", Deployment ", deployment.at("metadata", "generation"))
}

// warnings are the events of type Warning in the namespace.
func (c *cluster) warnings() []string {
	var all []string
	events, _ := c.get("/api/v1/namespaces/shop/events")["items"].([]any)
	for _, each := range events {
		if event := object(each.(map[string]any)); event["type"] == "Warning" {
			all = append(all, fmt.Sprint(event["reason"], ": ", event["message"], " (", event["count"], ")"))
		}
	}
	return all
}

// operator is one that keeps a Secret.
type operator struct {
	variable string // has its path; its CRDs are in crds beside it
	args     []string
	example  string
	replaced []string // in the example, beside Vault's address
}

// TestKubernetesExternalSecrets runs a real External Secrets Operator.
func TestKubernetesExternalSecrets(t *testing.T) {
	t.Parallel()
	followed(t, operator{
		variable: "BIN_ESO",
		args:     []string{"--metrics-addr=0", "--live-addr=0"},
		example:  "external-secrets/shop.yaml",
		replaced: []string{"refreshInterval: 7m", "refreshInterval: 10s"}, // half of the ttl, as there
	})
}

// TestKubernetesVaultSecrets runs a real Vault Secrets Operator, where there is one:
// it cannot be had from the Go module proxy.
func TestKubernetesVaultSecrets(t *testing.T) {
	t.Parallel()
	followed(t, operator{
		variable: "BIN_VSO",
		args:     []string{"--metrics-bind-address=0", "--health-probe-bind-address=0", "--leader-elect=false"},
		example:  "vault-secrets-operator/shop.yaml",
	})
}

// followed runs an operator with its example, and an application that reads the
// Secret. The Secret appears, follows rotations, and is not written while nothing
// changes.
func followed(t *testing.T, o operator) {
	t.Helper()
	needs(t, "read:client_keys")
	binary, method := program(t, o.variable), program(t, "BIN_AUTH_KUBERNETES")
	program(t, "BIN_KUBERNETES")
	r := newReader(t, "docs/examples.md")
	c := shopCluster(t, r.Dir)
	c.crds(binary)
	r.write("config", map[string]any{"propagation_delay": "0s"})
	r.write("roles/shop", map[string]any{"ttl": "20s"})
	app := tenant.Application{ClientID: r.read("roles/shop")["client_id"].(string)}
	r.acceptKubernetes(c, method)
	c.mustApply(example(t, "agent-injector/shop.yaml")) // for its Deployment shop
	c.run(binary, []string{"KUBECONFIG=" + c.kubeconfig, "OPERATOR_NAMESPACE=vault"}, o.args...)
	c.mustApply(example(t, o.example, append(o.replaced, "https://vault.example.com:8200", r.Vault.Addr())...))

	secret := secretOf{c}
	r.eventually("there is a Secret", func() bool { return len(secret.held()) == 1 })
	assert.Equal(t, r.Tenant.Secret(app.ClientID), secret.held()[0])
	assert.Len(t, c.get(secretPath).at("data"), 1, "auth0.json, and nothing that differs from read to read")
	atFirst := c.warnings()

	stop := r.startLogins("shop", secret, nil)
	defer stop()
	alone := func() bool { return len(secret.held()) == 1 && secret.held()[0] == r.Tenant.Secret(app.ClientID) }
	rotations := r.rotateShop(app, secret.held)
	r.eventually("the new one alone", alone)
	staged := r.Tenant.Stats().Logins
	assert.Positive(t, staged.FellBack, "or the test shows nothing")
	if rotations == 1 {
		assert.Zero(t, staged.Refused)
	}

	read := func(more int) {
		reads := r.readsOfShop()
		r.eventually("reads", func() bool { return r.readsOfShop() >= reads+more })
	}
	read(1) // a Deployment is told after the Secret is written
	before := c.writes()
	read(4)
	assert.Equal(t, before, c.writes(), "nothing has changed")

	r.write("rotate/shop", map[string]any{"force": true})
	began := time.Now()
	r.eventually("the forced one", alone)
	t.Logf("the Secret had the secret of a forced rotation after %s", time.Since(began).Round(time.Second))
	assert.NotEqual(t, before, c.writes())
	stop()
	logins := r.Tenant.Stats().Logins
	t.Logf("logins: %d; refused in the staged rotation: %d; until the forced one had come: %d; fell back: %d; %d reads; at last %s",
		logins.Accepted, staged.Refused, logins.Refused, logins.FellBack, r.readsOfShop(), c.writes())
	assert.Equal(t, atFirst, c.warnings(), "no warning since the Secret was there")
}
