//go:build integration

package integration

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/auth0login/vaultcreds"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// assertionLifetime is how long an assertion is good, and so how long at least a key stays
// in Auth0 that is no longer used.
const assertionLifetime = time.Minute

// keyService is a service whose application authenticates by keys of a role.
type keyService struct {
	role    string
	app     tenant.Application
	foreign tenant.Credential // of the application, for another purpose: not the role's
	stop    func()
}

// suiteForKeys is a suite whose engine may register keys.
func suiteForKeys(t *testing.T, o devstack.Options, changes map[string]any) *suite {
	t.Helper()
	s := newSuiteOf(t, o)
	s.grantKeys()
	config := s.Config()
	maps.Copy(config, changes)
	s.write("config", config)
	return s
}

// grantKeys lets the engine register keys, which takes scopes of its own.
func (s *suite) grantKeys() {
	s.Tenant.SetScopes(s.Engine.ClientID, slices.Concat(s.Tenant.Scopes(s.Engine.ClientID), auth0.KeyScopes)...)
}

// keyRole makes an application that used a key of its own, and a role to which it has
// gone over.
func (s *suite) keyRole(role string, exportable bool) *keyService {
	s.t.Helper()
	app := s.addApplication(nil)
	used := s.Tenant.AddCredential(app.ClientID, tenant.PrivateKeyJWT)
	foreign := s.Tenant.AddCredential(app.ClientID, tenant.SignedRequestObject)
	made := s.write("roles/"+role, map[string]any{
		"client_id": app.ClientID, "ttl": "10s", "credential_type": "private_key", "exportable": exportable,
	})
	if !s.clustered { // where it may have been written twice
		assert.Contains(s.t, fmt.Sprint(made.Warnings), used.KID, "it goes on to work")
	}
	s.awaitVersion(role, "1")
	s.Tenant.DisableCredential(app.ClientID, tenant.PrivateKeyJWT, used.ID)
	s.Tenant.RemoveCredential(app.ClientID, used.ID)
	return &keyService{role: role, app: app, foreign: foreign}
}

// keyServices starts services that log in all the time, each by another way to its key:
// one of which never holds it, one with leases, one without, and one with the PEM file of
// an Agent.
func (s *suite) keyServices() (all []*keyService, file auth0login.Source) {
	s.t.Helper()
	all = append(s.leasedAndSigned(), s.startKeyService(s.keyRole("static", true), vaultcreds.New(s.Vault.Client(), devstack.Mount+"/static-creds/static")))
	rendered := s.keyRole("rendered", true)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	path, err := s.StartKeyAgent(ctx, rendered.role)
	require.NoError(s.t, err)
	file = auth0login.KeyFile(path, auth0login.Credentials{Domain: s.Tenant.Domain(), ClientID: rendered.app.ClientID})
	rendered.stop = s.startLogins(rendered.role, file, nil)
	all = append(all, rendered)
	s.moreLogins(all, 10)
	return all, file
}

// leasedAndSigned starts a service that holds its key, with leases, and one that never does.
func (s *suite) leasedAndSigned() []*keyService {
	s.t.Helper()
	client := s.Vault.Client()
	return []*keyService{
		s.startKeyService(s.keyRole("leased", true), vaultcreds.New(client, devstack.Mount+"/creds/leased")),
		s.startKeyService(s.keyRole("signed", false), vaultcreds.NewAssertions(client, devstack.Mount+"/assertions/signed")),
	}
}

func (s *suite) startKeyService(v *keyService, source *vaultcreds.Source) *keyService {
	source.Patience = patience // however busy this machine is
	v.stop = s.startLogins(v.role, source, nil)
	return v
}

func (s *suite) loginsOf(v *keyService) tenant.LoginStats {
	return s.Tenant.Stats().PerApplication[v.app.ClientID]
}

// moreLogins waits until each service has logged in so many times from now on.
func (s *suite) moreLogins(all []*keyService, n int) {
	s.t.Helper()
	for _, v := range all {
		enough := s.loginsOf(v).Accepted + n
		s.eventually(v.role+" logs in", func() bool { return s.loginsOf(v).Accepted >= enough })
	}
}

// presentKID is the kid of the key that a role uses now.
func (s *suite) presentKID(role string) string {
	s.t.Helper()
	return s.read("assertions/" + role)["kid"].(string)
}

// keptToItsKeys checks what was registered with an application all the while: one or two
// keys of the role, and at the end, after a forced rotation, one. Nothing else was touched.
func (s *suite) keptToItsKeys(v *keyService) {
	s.t.Helper()
	s.write("rotate/"+v.role, map[string]any{"force": true})
	s.awaitPhase(v.role, "steady")
	registered, enabled := s.Tenant.Keys(v.app.ClientID)
	kid := s.presentKID(v.role)
	assert.Equal(s.t, []string{kid}, enabled, v.role)
	assert.ElementsMatch(s.t, []string{v.foreign.KID, kid}, registered, v.role)
	assert.Contains(s.t, s.Tenant.Credentials(v.app.ClientID), v.foreign, v.role)
	for _, change := range s.Tenant.KeyHistory(v.app.ClientID) {
		assert.NotEmpty(s.t, change.KIDs, v.role)
		assert.LessOrEqual(s.t, len(change.KIDs), 2, v.role)
	}
}

// TestServicesWithKeys lets services go through two staged rotations, of which the second is
// one of all roles. At first the Management API is down, then all of Auth0; keys reach its
// servers one after the other; the plugin is reloaded and Vault sealed while the first
// rotation propagates. Not a single attempt to log in is refused.
//
// It takes more than a minute: so long an old key stays in Auth0.
func TestServicesWithKeys(t *testing.T) {
	t.Parallel()
	takesLong(t)
	s := suiteForKeys(t, devstack.Options{Storage: "inmem"}, map[string]any{"propagation_delay": "3s"})
	s.every = 200 * time.Millisecond // each login costs a signature
	all, _ := s.keyServices()
	s.Tenant.SetPropagation(tenant.Propagation{Delay: 2 * time.Second, Mode: tenant.Mixed})

	up := s.Tenant.Inject(tenant.Fault{Endpoint: tenant.AnyManagement, Kind: tenant.ServerError})
	for _, v := range all {
		s.refused(502, "no clear answer from Auth0", logical.UpdateOperation, "rotate/"+v.role, nil)
	}
	s.moreLogins(all, 10)
	s.Tenant.SetDown(true) // all of Auth0: nobody can log in, but Vault goes on to answer
	for _, path := range []string{"assertions/signed", "creds/leased", "static-creds/static"} {
		s.read(path)
	}
	s.Tenant.SetDown(false)
	up()
	for _, v := range all {
		assert.Equal(t, "1", fmt.Sprint(s.read("roles/" + v.role)["version"]), "the rotation waits for Auth0")
		require.Equal(t, "staged", s.write("rotate/"+v.role, nil).Data["phase"])
	}
	for _, v := range all {
		s.awaitVersion(v.role, "2")
	}
	s.moreLogins(all, 10) // which takes two seconds

	_, err := s.Vault.Client().Sys().ReloadPluginWithContext(t.Context(), &api.ReloadPluginInput{Plugin: devstack.PluginName})
	require.NoError(t, err)
	require.NoError(t, s.Vault.Client().Sys().SealWithContext(t.Context()))
	require.NoError(t, s.Vault.Unseal(t.Context()))
	s.eventually("Vault answers", func() bool {
		_, err := s.request(logical.ReadOperation, "assertions/signed", nil)
		return err == nil
	})
	since, err := time.Parse(time.RFC3339, s.read("status")["serving_since"].(string))
	require.NoError(t, err)
	s.write("rotate-all", nil)
	for _, v := range all {
		s.awaitVersion(v.role, "3")
	}
	s.moreLogins(all, 10)
	for _, v := range all {
		v.stop()
		logins := s.loginsOf(v)
		t.Logf("%-8s logins: %d, refused: %d, attempts refused: %d", v.role, logins.Accepted, logins.Refused, logins.Attempts.Refused)
		assert.Zero(t, logins.Attempts.Refused, v.role)
		s.Tenant.SetPropagation(tenant.Propagation{})
		s.keptToItsKeys(v)
		assert.GreaterOrEqual(t, s.firstRemoval(v).Sub(since), assertionLifetime, "%s: the plugin that removes a key has waited itself", v.role)
	}
}

// firstRemoval is when Auth0 was first told to remove a key of the role: after the one that
// its owner removed, when one was made, it is the next change to a single key.
func (s *suite) firstRemoval(v *keyService) time.Time {
	var singles []time.Time
	for _, change := range s.Tenant.KeyHistory(v.app.ClientID) {
		if len(change.KIDs) == 1 {
			singles = append(singles, change.At)
		}
	}
	require.Greater(s.t, len(singles), 2, v.role) // the owner's key alone, the role's alone, and then
	return singles[2]
}

// TestServicesWithKeysAreForced to take another key, one role after the other and all at
// once. Services that ask Vault lose nothing: what they have is refused, and they read
// again. That with a file is refused until its Agent has read.
func TestServicesWithKeysAreForced(t *testing.T) {
	t.Parallel()
	s := suiteForKeys(t, devstack.Options{Storage: "inmem"}, map[string]any{"propagation_delay": "4s"})
	all, file := s.keyServices()
	rendered := all[len(all)-1]
	for i, rotate := range []func(){
		func() {
			for _, v := range all {
				s.write("rotate/"+v.role, map[string]any{"force": true})
			}
		},
		func() { s.write("rotate-all", map[string]any{"force": true}) },
	} {
		before := s.loginsOf(rendered).Refused
		s.moreLogins(all, 5)
		assert.Equal(t, before, s.loginsOf(rendered).Refused, "nothing is removed yet")
		began := time.Now()
		rotate()
		for _, v := range all {
			s.awaitVersion(v.role, fmt.Sprint(2+i))
			s.awaitPhase(v.role, "steady")
		}
		s.eventually("the Agent has rendered the new key", func() bool {
			c, err := file.Credentials(t.Context())
			return err == nil && c.KID == s.presentKID(rendered.role)
		})
		took := time.Since(began)
		s.moreLogins(all, 3) // that which had begun before is over
		refused := s.loginsOf(rendered).Refused
		t.Logf("forced: the service with a file was refused %d times, in %s", refused-before, took.Round(time.Millisecond))
		s.moreLogins(all, 20)
		assert.Equal(t, refused, s.loginsOf(rendered).Refused)
	}
	for _, v := range all {
		v.stop()
		logins := s.loginsOf(v)
		t.Logf("%-8s logins: %d, refused: %d, fell back: %d", v.role, logins.Accepted, logins.Refused, logins.FellBack)
		s.keptToItsKeys(v)
		if v == rendered {
			continue
		}
		assert.Zero(t, logins.Refused, v.role)
		assert.Zero(t, logins.Undecided, v.role)
		if v.role != "signed" { // which hardly ever meets it
			assert.Positive(t, logins.FellBack, "%s: or the test shows nothing", v.role)
		}
	}
}

// TestPrivateKeysStayInVault where their role was never exportable: after rotations of all
// kinds, while Auth0 repeats in its errors what it was sent, nothing but the role's own
// entry of storage has them. Every log is searched for them in the end.
func TestPrivateKeysStayInVault(t *testing.T) {
	t.Parallel()
	s := suiteForKeys(t, devstack.Options{Storage: "raft", Settings: "raw_storage_endpoint = true\n"}, map[string]any{"propagation_delay": "1s"})
	stays := s.keyRole("stays", false)
	s.keyRole("leaves", true)
	mounts, err := s.Vault.Client().Sys().ListMountsWithContext(t.Context())
	require.NoError(t, err)
	entry := "logical/" + mounts[devstack.Mount+"/"].UUID + "/role/"
	keys := map[string]bool{} // of the role that keeps them
	collect := func() {
		for key := range s.storedKeys(entry)[entry+"stays"] {
			keys[key] = true
			s.remember(key)
		}
	}
	var said strings.Builder
	ask := func(operation logical.Operation, path string, data map[string]any) {
		answer, err := s.request(operation, path, data)
		fmt.Fprintln(&said, path, err)
		if answer != nil {
			fmt.Fprintf(&said, "%s %s\n", answer.Data, answer.Warnings)
		}
		collect()
	}
	askAll := func() {
		for _, path := range []string{
			"roles/stays", "rotate/stays", "assertions/stays", "creds/stays", "static-creds/stays", "tokens/stays",
			"status", "metrics", "rotate-all", "config",
		} {
			ask(logical.ReadOperation, path, nil)
		}
	}
	force := map[string]any{"force": true}
	s.Tenant.SetGrant(stays.app.ClientID, tenant.DefaultAPI, tenant.Grant{Scopes: []string{"read:orders"}})
	s.write("token-roles/stays", map[string]any{"role": "stays", "audience": tenant.DefaultAPI, "shared": false})
	s.read("creds/leaves")
	for i, endpoint := range []tenant.Endpoint{
		tenant.AnyManagement, tenant.CreateCredential, tenant.UpdateApplication, tenant.Revoke, tenant.Any,
	} {
		encodings := []tenant.Encoding{tenant.Plain, tenant.JSONEscaped, tenant.Base64, tenant.CutOff}
		clear := s.Tenant.Inject(tenant.Fault{Kind: tenant.Echo, Endpoint: endpoint, Encoding: encodings[i%len(encodings)]})
		ask(logical.UpdateOperation, "rotate/stays", force)
		require.GreaterOrEqual(t, len(keys), 2, "there is a next one, or this is not the plugin's storage in clear")
		askAll()
		clear()
	}
	ask(logical.UpdateOperation, "rotate/stays", force)
	s.awaitPhase("stays", "steady") // Auth0 has not told whether it accepts the key, so that it is waited for
	ask(logical.UpdateOperation, "rotate/stays", force)
	s.write("rotate-all", force)
	s.eventually("all are rotated", func() bool { return s.read("rotate-all")["finished_at"] != nil })
	askAll()
	for _, below := range []string{strings.TrimSuffix(entry, "role/"), "sys/expire/"} { // where leases have what was answered
		for name, held := range s.storedKeys(below) {
			for key := range held {
				assert.True(t, !keys[key] || name == entry+"stays", name)
			}
		}
	}
	s.Tenant.Inject(tenant.Fault{Kind: tenant.Echo, Endpoint: tenant.AnyManagement})
	ask(logical.DeleteOperation, "roles/stays", nil)
	assert.Contains(t, said.String(), "remove them there")
	assert.Contains(t, said.String(), "auth0_credential_reads_total", "or the metrics are not text")
	assert.GreaterOrEqual(t, len(keys), 4)
	for key := range keys {
		for _, piece := range pieces(key) {
			if strings.Contains(said.String(), piece) {
				t.Error("a private key was told")
			}
		}
	}
}

// inPEM finds private keys where a new line is one, or written as in JSON.
var inPEM = regexp.MustCompile(`-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----`)

// storedKeys are the private keys in clear in storage below a path, by entry.
func (s *suite) storedKeys(path string) map[string]map[string]bool {
	s.t.Helper()
	found := map[string]map[string]bool{}
	for line := range strings.Lines(s.storedBelow(path)) {
		name, value, _ := strings.Cut(line, " ")
		for _, key := range inPEM.FindAllString(value, -1) {
			if found[name] == nil {
				found[name] = map[string]bool{}
			}
			found[name][strings.ReplaceAll(key, `\n`, "\n")+"\n"] = true
		}
	}
	return found
}
