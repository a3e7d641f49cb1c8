//go:build integration

package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/devvault"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// The examples as they are in examples/, with nothing changed but addresses and
// folders.

// example is the text of a file with the replacements made, each of which has to
// be of use.
func example(t *testing.T, file string, replaced ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../examples", file))
	require.NoError(t, err)
	changed := string(text)
	for i := 0; i < len(replaced); i += 2 {
		require.Contains(t, changed, replaced[i])
		changed = strings.ReplaceAll(changed, replaced[i], replaced[i+1])
	}
	return changed
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
}

// runAgent runs a Vault Agent with the configuration of an example, which may
// read the credentials of the role shop. Its folder stands for /run/shop and
// /etc/shop.
func (s *suite) runAgent(config string, dir string) {
	s.t.Helper()
	s.addAppRole(devstack.ApplicationPolicy("shop"), dir)
	agent, err := devvault.StartAgent(s.Vault.Binary(), dir, config)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = agent.Stop(context.Background()) })
}

// addAppRole has a folder have what an AppRole with a policy logs in by.
func (s *suite) addAppRole(policy, dir string) {
	s.t.Helper()
	client, role := s.Vault.Client(), "auth/approle/role/shop"
	require.NoError(s.t, client.Sys().PutPolicyWithContext(s.t.Context(), "shop", policy))
	require.NoError(s.t, client.Sys().EnableAuthWithOptionsWithContext(s.t.Context(), "approle", &api.EnableAuthOptions{Type: "approle"}))
	_, err := client.Logical().WriteWithContext(s.t.Context(), role, map[string]any{"token_policies": "shop"})
	require.NoError(s.t, err)
	id, err := client.Logical().ReadWithContext(s.t.Context(), role+"/role-id")
	require.NoError(s.t, err)
	secret, err := client.Logical().WriteWithContext(s.t.Context(), role+"/secret-id", nil)
	require.NoError(s.t, err)
	for name, text := range map[string]any{"role-id": id.Data["role_id"], "secret-id": secret.Data["secret_id"]} {
		writeFile(s.t, filepath.Join(dir, name), fmt.Sprint(text))
	}
}

// agentDir is a folder for an agent, whose log is searched in the end.
func (s *suite) agentDir() string {
	dir := filepath.Join(s.Dir, "agent-shop")
	require.NoError(s.t, os.MkdirAll(dir, 0o750))
	return dir
}

// shop is a suite with a role shop.
func shop(t *testing.T, ttl string) (*suite, tenant.Application) {
	t.Helper()
	s := configured(t, "inmem", map[string]any{"propagation_delay": "0s"})
	app := s.addApplication(nil)
	s.write("roles/shop", map[string]any{"client_id": app.ClientID, "ttl": ttl})
	return s, app
}

// rotateShop rotates, and checks that what is held has the next secret before it is set
// in Auth0. A reader that is kept from reading until its lease has ended, as on a busy
// machine, has no promise of that: then it rotates again. It says how often it did.
func (s *suite) rotateShop(app tenant.Application, held func() []string) (rotations int) {
	s.t.Helper()
	for rotations = 1; rotations <= 5; rotations++ {
		before := s.Tenant.Secret(app.ClientID)
		s.write("rotate/shop", nil)
		next := ""
		set := func() bool { return s.Tenant.Secret(app.ClientID) != before }
		s.eventually("both secrets are there, or the next one is set", func() bool {
			secrets := held()
			switch {
			case set():
				return true
			case len(secrets) == 2 && slices.Contains(secrets, before):
				next = secrets[1-slices.Index(secrets, before)] // a template may have an order of its own
			}
			return next != ""
		})
		s.eventually("the next one is set", set)
		if next != "" {
			assert.Equal(s.t, next, s.Tenant.Secret(app.ClientID))
			s.awaitPhase("shop", "steady")
			return rotations
		}
		s.t.Log("the reader came late: once more")
		s.eventually("it has the new one alone", s.isAlone(app, held))
	}
	s.t.Fatal("the reader was late each time")
	return 0
}

// isAlone says whether what is held is the application's secret and no other.
func (s *suite) isAlone(app tenant.Application, held func() []string) func() bool {
	return func() bool { return slices.Equal(held(), []string{s.Tenant.Secret(app.ClientID)}) }
}

// held are the secrets in a file of credentials.
func heldIn(file string) func() []string {
	source := auth0login.File(file)
	return func() []string {
		credentials, err := source.Credentials(context.Background())
		if err != nil {
			return nil
		}
		return credentials.ClientSecrets
	}
}

// TestExampleOfGitHubActions: the roles of examples/github-actions, with tokens like
// those that GitHub gives to a job, signed by a key of the test's.
func TestExampleOfGitHubActions(t *testing.T) {
	t.Parallel()
	s, app := shop(t, "15m")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	require.NoError(t, err)
	const issuer = "https://token.actions.githubusercontent.com"
	client := s.Vault.Client()
	require.NoError(t, client.Sys().EnableAuthWithOptionsWithContext(t.Context(), "github", &api.EnableAuthOptions{Type: "jwt"}))
	_, err = client.Logical().WriteWithContext(t.Context(), "auth/github/config", map[string]any{
		"bound_issuer":           issuer,
		"jwt_validation_pubkeys": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
	})
	require.NoError(t, err)
	s.write("token-roles/orders", map[string]any{"scopes": scopes(t)})
	for role, file := range map[string]string{"shop-e2e": "role.json", "orders-smoke": "orders-role.json"} {
		_, err = client.Logical().WriteBytesWithContext(t.Context(), "auth/github/role/"+role, []byte(example(t, "github-actions/"+file)))
		require.NoError(t, err)
	}
	for name, policy := range map[string]string{"shop": devstack.ApplicationPolicy("shop"), "orders": ordersPolicy} {
		require.NoError(t, client.Sys().PutPolicyWithContext(t.Context(), name, policy))
	}

	login := func(role string, changes map[string]any) (*api.Secret, error) {
		now := time.Now()
		claims := map[string]any{
			"iss": issuer, "aud": "https://vault.example.com",
			"iat": now.Unix(), "nbf": now.Add(-5 * time.Minute).Unix(), "exp": now.Add(5 * time.Minute).Unix(),
			"sub":        "repo:example/shop:ref:refs/heads/main",
			"repository": "example/shop", "repository_owner": "example",
			"ref": "refs/heads/main", "ref_type": "branch", "event_name": "workflow_dispatch",
			"workflow_ref": "example/shop/.github/workflows/e2e.yml@refs/heads/main",
		}
		maps.Copy(claims, changes)
		token, err := jwt.Signed(signer).Claims(claims).Serialize()
		require.NoError(t, err)
		return client.Logical().WriteWithContext(t.Context(), "auth/github/login", map[string]any{"role": role, "jwt": token})
	}
	for name, c := range map[string]struct {
		claim string
		value any
		fault string
	}{
		"another branch":     {"ref", "refs/heads/main-2", `claim "ref"`},
		"a tag":              {"ref", "refs/tags/main", `claim "ref"`},
		"a pull request":     {"ref", "refs/pull/1/merge", `claim "ref"`},
		"no ref":             {"ref", nil, `claim "ref"`},
		"another repository": {"repository", "example/shop-2", `claim "repository"`},
		"a fork":             {"repository", "somebody/shop", `claim "repository"`},
		"another audience":   {"aud", "https://github.com/example", "aud"},
		"another issuer":     {"iss", "https://example.com", "iss"},
	} {
		for _, role := range []string{"shop-e2e", "orders-smoke"} {
			_, err := login(role, map[string]any{c.claim: c.value})
			var refused *api.ResponseError
			require.ErrorAs(t, err, &refused, name)
			assert.Equal(t, http.StatusBadRequest, refused.StatusCode, name)
			assert.Contains(t, strings.Join(refused.Errors, "\n"), c.fault, name)
		}
	}
	read := func(role, path string) (*api.Secret, error) {
		token, err := login(role, nil)
		require.NoError(t, err)
		job, err := client.Clone()
		require.NoError(t, err)
		job.SetToken(token.Auth.ClientToken)
		return job.Logical().ReadWithContext(t.Context(), path)
	}
	credentials, err := read("shop-e2e", "auth0/creds/shop")
	require.NoError(t, err)
	assert.Equal(t, s.Tenant.Secret(app.ClientID), credentials.Data["client_secret"])
	token, err := read("orders-smoke", "auth0/tokens/orders")
	require.NoError(t, err)
	s.remember(token.Data["access_token"].(string))
	_, err = read("orders-smoke", "auth0/creds/shop")
	require.ErrorContains(t, err, "permission denied", "the job holds no secret")
}

// TestExampleOfAgentTemplate: examples/vault-agent/template.hcl.
func TestExampleOfAgentTemplate(t *testing.T) {
	t.Parallel()
	s, app := shop(t, "10s")
	dir := s.agentDir()
	hups := make(chan os.Signal, 100)
	signal.Notify(hups, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hups) }) // not before the Agent ends: a signal that nobody takes ends this process
	writeFile(t, filepath.Join(dir, "shop.pid"), fmt.Sprint(os.Getpid()))
	s.runAgent(example(t, "vault-agent/template.hcl", "http://127.0.0.1:8200", s.Vault.Addr(), "/etc/shop", dir, "/run/shop", dir), dir)
	file := filepath.Join(dir, "auth0.json")
	held := heldIn(file)
	s.eventually("it is rendered", func() bool { return len(held()) == 1 })
	stop := s.startLogins("shop", auth0login.File(file), nil)
	defer stop()
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode().Perm())

	rotations := s.rotateShop(app, held)
	s.eventually("the new one alone", s.isAlone(app, held))
	s.eventually("signals", func() bool { return len(hups) >= 2+rotations })
	stop()
	logins := s.Tenant.Stats().Logins
	t.Logf("logins: %d, refused: %d, signals: %d", logins.Accepted, logins.Refused, len(hups))
	if rotations == 1 {
		assert.Zero(t, logins.Refused)
		assert.Len(t, hups, 3, "one for each content of the file, and none for the reads in between")
	}
}

// withKeys is a suite that may rotate keys, and an application of private_key_jwt.
func withKeys(t *testing.T) (*suite, tenant.Application) {
	t.Helper()
	s := newSuite(t, "inmem", append(slices.Clone(scopes(t)), auth0.KeyScopes...)...)
	earlier, err := assertion.NewPrivateKey(assertion.MinKeyBits)
	require.NoError(t, err)
	return s, s.Tenant.AddApplicationWithKey(tenant.Application{}, publicPEM(t, earlier), "RS256")
}

// TestExampleOfAKeyFile: examples/vault-agent/key.hcl. What is in the file can log in at
// every time.
func TestExampleOfAKeyFile(t *testing.T) {
	t.Parallel()
	s, app := withKeys(t)
	config := s.Config()
	config["propagation_delay"] = "0s"
	s.write("config", config)
	s.write("roles/shop", map[string]any{"client_id": app.ClientID, "ttl": "10s", "credential_type": "private_key", "exportable": true})
	s.Tenant.RemoveCredential(app.ClientID, s.Tenant.Credentials(app.ClientID)[0].ID) // the earlier one
	dir := s.agentDir()
	s.runAgent(example(t, "vault-agent/key.hcl", "http://127.0.0.1:8200", s.Vault.Addr(), "/etc/shop", dir, "/run/shop", dir), dir)
	file := filepath.Join(dir, "auth0.json")
	var held map[string]string
	holds := func(before string) func() bool {
		return func() bool {
			text, err := os.ReadFile(file)
			return err == nil && json.Unmarshal(text, &held) == nil && held["kid"] != before
		}
	}
	isGood := func() {
		t.Helper()
		s.remember(held["private_key"])
		_, enabled := s.Tenant.Keys(app.ClientID)
		assert.Contains(t, enabled, held["kid"])
		_, kid, err := assertion.PublicKey(held["private_key"])
		require.NoError(t, err)
		assert.Equal(t, map[string]string{
			"domain": s.Tenant.Domain(), "client_id": app.ClientID, "private_key": held["private_key"], "kid": kid, "signing_algorithm": "RS256",
		}, held)
	}
	s.eventually("it is rendered", holds(""))
	isGood()
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode().Perm())

	first := held["kid"]
	s.write("rotate/shop", nil)
	s.eventually("it has the next key", holds(first))
	isGood()
}

// TestExampleOfAgentExec: examples/vault-agent/exec.hcl. The application is a
// script that notes down what it was started with.
func TestExampleOfAgentExec(t *testing.T) {
	t.Parallel()
	s, app := shop(t, "15s")
	dir := s.agentDir()
	program, file, starts := filepath.Join(dir, "shop"), filepath.Join(dir, "held.json"), filepath.Join(dir, "starts")
	script := fmt.Sprintf("#!/bin/sh\n"+
		`printf '{"domain":"%%s","client_id":"%%s","client_secrets":%%s}' "$AUTH0_DOMAIN" "$AUTH0_CLIENT_ID" "$AUTH0_CLIENT_SECRETS" >%[1]s.new`+
		"\nmv %[1]s.new %[1]s\n"+`echo "$AUTH0_CLIENT_SECRETS" >>%[2]s`+"\nexec sleep 1000\n", file, starts)
	require.NoError(t, os.WriteFile(program, []byte(script), 0o700))
	s.runAgent(example(t, "vault-agent/exec.hcl", "http://127.0.0.1:8200", s.Vault.Addr(), "/etc/shop", dir, "/usr/local/bin/shop", program), dir)
	held := heldIn(file)
	s.eventually("it is started", func() bool { return len(held()) == 1 })
	stop := s.startLogins("shop", auth0login.File(file), nil)
	defer stop()
	rotations := s.rotateShop(app, held)
	stop()
	logins := s.Tenant.Stats().Logins
	t.Logf("logins: %d, refused: %d", logins.Accepted, logins.Refused)
	if rotations == 1 {
		assert.Zero(t, logins.Refused)
	}
	text, err := os.ReadFile(starts)
	require.NoError(t, err)
	lines := strings.Fields(string(text))
	require.GreaterOrEqual(t, len(lines), 2)
	assert.Equal(t, slices.Compact(slices.Clone(lines)), lines, "it is started again for a change, and for nothing else")
}

// TestExampleOfAgentInjector has a real Agent render the template of the
// annotation.
func TestExampleOfAgentInjector(t *testing.T) {
	t.Parallel()
	s, app := shop(t, "10s")
	var deployment struct {
		Spec struct {
			Template struct {
				Metadata struct {
					Annotations map[string]string
				}
			}
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(example(t, "agent-injector/shop.yaml")), &deployment))
	text := deployment.Spec.Template.Metadata.Annotations["vault.hashicorp.com/agent-inject-template-auth0.json"]
	require.NotEmpty(t, text)
	dir := s.agentDir()
	role := example(t, "vault-agent/template.hcl", "http://127.0.0.1:8200", s.Vault.Addr(), "/etc/shop", dir)
	config, _, found := strings.Cut(role, "# Without ttl")
	require.True(t, found)
	file := filepath.Join(dir, "auth0.json")
	s.runAgent(config+fmt.Sprintf("template {\n  destination = %q\n  contents = <<EOT\n%sEOT\n}\n", file, text), dir)
	held := heldIn(file)
	s.eventually("it is rendered", func() bool { return len(held()) == 1 })
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o644), info.Mode().Perm(), "the Agent's user is not the application's")
	s.rotateShop(app, held)
}

// terraform runs Terraform with the example, in a folder of its own.
type terraform struct {
	t   *testing.T
	dir string
	env []string
}

func newTerraform(t *testing.T, s *suite) *terraform {
	t.Helper()
	provider := os.Getenv("TERRAFORM_PROVIDER")
	if _, err := exec.LookPath("terraform"); err != nil || provider == "" {
		t.Skip("skipped: no Terraform with a provider for Vault (TERRAFORM_PROVIDER); make examples has it")
	}
	dir := t.TempDir()
	for _, name := range []string{"main.tf", "variables.tf"} {
		writeFile(t, filepath.Join(dir, name), example(t, "terraform/vault/"+name))
	}
	rc := filepath.Join(dir, "terraform.rc")
	writeFile(t, rc, fmt.Sprintf("provider_installation {\n  dev_overrides {\n    \"hashicorp/vault\" = %q\n  }\n  direct {}\n}\n", provider))
	return &terraform{t: t, dir: dir, env: append(os.Environ(),
		"TF_CLI_CONFIG_FILE="+rc, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1",
		"VAULT_ADDR="+s.Vault.Addr(), "VAULT_TOKEN="+s.Vault.Token(), "HOME="+dir,
	)}
}

// changesPlanned is the exit status of a plan that is not empty.
const changesPlanned = 2

// run runs a command, and gives a plan that is not empty.
func (tf *terraform) run(args ...string) string {
	tf.t.Helper()
	args = append(args, "-input=false", "-no-color")
	cmd := exec.CommandContext(tf.t.Context(), "terraform", args...)
	cmd.Dir, cmd.Env = tf.dir, tf.env
	out, err := cmd.CombinedOutput()
	if args[0] == "plan" && cmd.ProcessState.ExitCode() == changesPlanned {
		return string(out)
	}
	require.NoError(tf.t, err, "terraform %s\n%s", strings.Join(args, " "), out)
	return ""
}

func (tf *terraform) apply() {
	tf.t.Helper()
	tf.run("apply", "-auto-approve")
}

// planned is what Terraform would change; empty: nothing.
func (tf *terraform) planned() string {
	tf.t.Helper()
	return tf.run("plan", "-detailed-exitcode")
}

// TestExampleOfTerraform applies examples/terraform/vault to a real Vault.
func TestExampleOfTerraform(t *testing.T) {
	t.Parallel()
	s, keyed := withKeys(t)
	tf := newTerraform(t, s)
	app := s.addApplication(nil)
	roles := func(ttl int) string {
		return fmt.Sprintf(`{"shop":{"client_id":%q,"ttl":%d},"orders":{"client_id":%q,"credential_type":"private_key",`+
			`"signing_algorithm":"PS256","key_bits":3072,"exportable":true,"ttl":%[2]d}}`, app.ClientID, ttl, keyed.ClientID)
	}
	set := func(name, value string) { tf.env = append(tf.env, "TF_VAR_"+name+"="+value) }
	set("mount", "by-terraform")
	set("auth0_domain", s.Tenant.Domain())
	set("auth0_client_id", s.Engine.ClientID)
	set("auth0_ca_cert", s.Tenant.CACert())
	set("roles", roles(60))
	set("auth0_client_secret", s.Engine.ClientSecret)
	tf.apply()
	read := func(path string) map[string]any {
		answer, err := s.Vault.Client().Logical().ReadWithContext(t.Context(), "by-terraform/"+path)
		require.NoError(t, err)
		return answer.Data
	}
	assert.Equal(t, app.ClientSecret, read("creds/shop")["client_secret"])
	orders := read("creds/orders")
	_, enabled := s.Tenant.Keys(keyed.ClientID)
	assert.Contains(t, enabled, orders["kid"])
	assert.Equal(t, "PS256", orders["signing_algorithm"])
	assert.NotEqual(t, s.Engine.ClientSecret, s.Tenant.Secret(s.Engine.ClientID), "the engine's own secret is known to it alone")
	assert.Empty(t, tf.planned(), "just applied")

	tf.env = slices.DeleteFunc(tf.env, func(variable string) bool { return strings.HasPrefix(variable, "TF_VAR_auth0_client_secret=") })
	tf.apply()
	state, err := os.ReadFile(filepath.Join(tf.dir, "terraform.tfstate"))
	require.NoError(t, err)
	assert.NotContains(t, string(state), s.Engine.ClientSecret)
	assert.Empty(t, tf.planned(), "without the first secret")

	_, err = s.Vault.Client().Logical().WriteWithContext(t.Context(), "by-terraform/rotate/shop", nil)
	require.NoError(t, err)
	assert.Empty(t, tf.planned(), "while a rotation is under way")
	set("roles", roles(120))
	assert.NotEmpty(t, tf.planned())
	tf.apply()
	assert.Equal(t, "120", fmt.Sprint(read("roles/shop")["ttl"]))
	assert.Empty(t, tf.planned(), "after a change")
	tf.run("destroy", "-auto-approve")
	mounts, err := s.Vault.Client().Sys().ListMountsWithContext(t.Context())
	require.NoError(t, err)
	assert.NotContains(t, mounts, "by-terraform/")
}

// TestConsulTemplate: the program itself, without leases.
func TestConsulTemplate(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("consul-template")
	if err != nil {
		t.Skip("skipped: consul-template is not installed; make examples builds it")
	}
	s, app := shop(t, "10s")
	dir := s.agentDir()
	file := filepath.Join(dir, "auth0.json")
	source := filepath.Join(dir, "auth0.ctmpl")
	writeFile(t, source, `{{ with secret "auth0/static-creds/shop" }}{{ .Data | toJSON }}{{ end }}`)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cmd := exec.CommandContext(ctx, program, "-template", source+":"+file, "-vault-addr", s.Vault.Addr(), "-vault-renew-token=false")
	cmd.Env = []string{"VAULT_TOKEN=" + s.Vault.Token(), "HOME=" + dir}
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	defer stop()
	held := heldIn(file)
	s.eventually("it is rendered", func() bool { return len(held()) == 1 })
	end := s.startLogins("shop", auth0login.File(file), nil)
	rotations := s.rotateShop(app, held)
	s.eventually("the new one alone", s.isAlone(app, held))
	end()
	if rotations == 1 {
		assert.Zero(t, s.Tenant.Stats().Logins.Refused)
	}
}
