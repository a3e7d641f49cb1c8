package main

import (
	"context"
	"os"
	"path/filepath"
	"text/template"

	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// commands is what can be tried. A test runs them.
var commands = template.Must(template.New("commands").Parse(`
{{.Product}} runs with the engine mounted at auth0/ and configured. In another terminal:

  export VAULT_ADDR={{.Addr}} VAULT_TOKEN={{.Token}} PATH={{.Path}}:$PATH

Make a role of an application, and let an Agent render its credentials into a file:

  {{.Vault}} write auth0/roles/shop client_id={{.ClientID}} ttl=10s
  {{.Vault}} agent -config={{.Agent}} > {{.Dir}}/agent.log 2>&1 &
  until test -s {{.File}}; do sleep 1; done; cat {{.File}}

Rotate it. Within 10 s the file has the next secret, as a fallback; when all who read it have it, Auth0 gets it.

  {{.Vault}} write -f auth0/rotate/shop
  until grep -q '"fallback_client_secret":"[^"]' {{.File}}; do sleep 1; done; cat {{.File}}
  until test "$({{.Vault}} read -field=version auth0/roles/shop)" = 2; do sleep 1; done; {{.Vault}} read auth0/roles/shop

Let a service have access tokens for an API, and no secret. A rotation by force refuses it nothing:

  {{.Vault}} write auth0/token-roles/orders role=shop audience=https://api.example.com/
  {{.Vault}} read auth0/tokens/orders

Look around:

  {{.Vault}} read auth0/config
  {{.Vault}} read auth0/creds/shop
  {{.Vault}} read auth0/status
  {{.Vault}} write auth0/rotate/shop force=true
  {{.Vault}} list -detailed auth0/applications
  {{.Vault}} path-help auth0
  AUTH0_CLIENT_SECRET={{.EngineSecret}} {{.Plugin}} doctor -domain={{.Domain}} -client_id={{.EngineID}} -ca_cert=@{{.CA}}

It was configured with

  {{.Vault}} write auth0/config domain={{.Domain}} client_id={{.EngineID}} client_secret={{.EngineSecret}} ca_cert=@{{.CA}}

The simulated Auth0 tenant is https://{{.Domain}}, {{.Product}}'s log is {{.Log}}.
Ctrl-C here stops all but the Agent, which was started over there: kill %1.
`))

// leaveRunning prints commands to try, and waits for the end of the context.
func leaveRunning(ctx context.Context, stack *devstack.Stack, plugin string) error {
	app := stack.Tenant.AddApplication(tenant.Application{Name: role})
	stack.Tenant.AddApplication(tenant.Application{Name: "billing"})
	if _, err := stack.Write(ctx, "config", stack.Config()); err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(stack.Dir, name) }
	for name, text := range map[string]string{
		"ca.pem": stack.Tenant.CACert(), "token": stack.Vault.Token(),
		"agent.hcl": devstack.AgentConfig(stack.Vault.Addr(), in("token"), devstack.Template(devstack.Mount+"/creds/"+role), in(role+".json")),
	} {
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	err := commands.Execute(os.Stdout, map[string]string{
		"Product": stack.Vault.Product(), "Vault": stack.Vault.Command(), "Addr": stack.Vault.Addr(), "Token": stack.Vault.Token(),
		"Path": filepath.Dir(stack.Vault.Binary()), "Dir": stack.Dir, "Log": stack.Vault.LogFile(), "Plugin": plugin,
		"ClientID": app.ClientID, "Agent": in("agent.hcl"), "File": in(role + ".json"), "CA": in("ca.pem"),
		"Domain": stack.Tenant.Domain(), "EngineID": stack.Engine.ClientID, "EngineSecret": stack.Engine.ClientSecret,
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}
