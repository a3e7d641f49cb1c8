package auth0secrets

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
)

const (
	pathConfigSynopsis    = "Configure how the engine reaches the Auth0 tenant."
	pathConfigDescription = `
Holds the domain of the tenant and the credentials of a machine-to-machine
application that may use its Management API. The application needs the scope
update:client_keys; with read:clients the engine can check applications that
become roles, and with read:client_keys it can import their present secrets.

An update changes only what is sent. The client secret is never returned.`

	minRequestTimeout   = time.Second
	maxRequestTimeout   = 5 * time.Minute
	maxPropagationDelay = time.Hour
)

func (b *backend) pathConfig() []*framework.Path {
	write := &framework.PathOperation{
		Callback: handled(b.configWrite),
		Summary:  "Configure the Auth0 tenant.",
		Examples: []framework.RequestExample{{
			Description: "Configure the tenant with a machine-to-machine application.",
			Data: map[string]any{
				fieldDomain: "example.eu.auth0.com", fieldClientID: "pYB5Cv8T1Z0eLrKg5mG9ZrQ0eYw3hJxN", fieldClientSecret: "...",
			},
		}},
		Responses: map[int][]framework.Response{
			http.StatusNoContent: {{Description: http.StatusText(http.StatusNoContent)}},
		},
		ForwardPerformanceSecondary: true,
		ForwardPerformanceStandby:   true,
	}
	return []*framework.Path{{
		Pattern:      storageConfig + "$",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "configuration"},
		Fields: map[string]*framework.FieldSchema{
			fieldDomain:           stringField(descDomain),
			fieldClientID:         stringField(descEngineClientID),
			fieldClientSecret:     sensitiveField(descEngineSecret),
			fieldAudience:         stringField(descAudience),
			fieldCACert:           stringField(descCACert),
			fieldRequestTimeout:   durationField(descRequestTimeout, defaultRequestTimeout),
			fieldPropagationDelay: durationField(descPropagationDelay, defaultPropagationDelay),
			fieldVerifyConnection: boolField(descVerifyConnection, true),
		},
		ExistenceCheck: b.configExists,
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.CreateOperation: write,
			logical.UpdateOperation: write,
			logical.ReadOperation: &framework.PathOperation{
				Callback: handled(b.configRead),
				Summary:  "Read the configuration, without secrets.",
				Responses: map[int][]framework.Response{http.StatusOK: {{
					Description: http.StatusText(http.StatusOK),
					Fields: map[string]*framework.FieldSchema{
						fieldDomain:           required(stringField(descDomain)),
						fieldClientID:         required(stringField(descEngineClientID)),
						fieldAudience:         required(stringField(descAudience)),
						fieldCACert:           required(stringField(descCACert)),
						fieldRequestTimeout:   required(intField(descRequestTimeout + " In seconds.")),
						fieldPropagationDelay: required(intField(descPropagationDelay + " In seconds.")),
						fieldVerifyConnection: required(boolField(descVerifyConnection, true)),
						fieldScopes:           required(listField(descScopes)),
					},
				}}},
			},
			logical.DeleteOperation: &framework.PathOperation{
				Callback: handled(b.configDelete),
				Summary:  "Delete the configuration. Refused while roles exist.",
				Responses: map[int][]framework.Response{
					http.StatusNoContent: {{Description: http.StatusText(http.StatusNoContent)}},
				},
				ForwardPerformanceSecondary: true,
				ForwardPerformanceStandby:   true,
			},
		},
		HelpSynopsis:    pathConfigSynopsis,
		HelpDescription: strings.TrimSpace(pathConfigDescription),
	}}
}

func (b *backend) configExists(ctx context.Context, req *logical.Request, _ *framework.FieldData) (bool, error) {
	config, err := readConfig(ctx, req.Storage)
	return config != nil, err
}

func (b *backend) configRead(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	config, err := readConfig(ctx, req.Storage)
	if err != nil || config == nil {
		return nil, err
	}
	scopes := config.Scopes
	if scopes == nil {
		scopes = []string{}
	}
	return &logical.Response{Data: map[string]any{
		fieldDomain:           config.Domain,
		fieldClientID:         config.ClientID,
		fieldAudience:         config.audience(),
		fieldCACert:           config.CACert,
		fieldRequestTimeout:   inSeconds(config.RequestTimeout),
		fieldPropagationDelay: inSeconds(config.PropagationDelay),
		fieldVerifyConnection: config.VerifyConnection,
		fieldScopes:           scopes,
	}}, nil
}

func (b *backend) configWrite(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	unlock, err := b.configLock.lock(ctx, storageConfig)
	if err != nil {
		return nil, err
	}
	defer unlock()

	stored, err := readConfig(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	config, err := updatedConfig(stored, d)
	if err != nil {
		return nil, err
	}
	if err := b.configFitsRoles(ctx, req.Storage, stored, config); err != nil {
		return nil, err // before Auth0 is asked: credentials are not sent to a domain that is refused
	}
	warnings, err := b.verifyConfig(ctx, config)
	if err != nil {
		return nil, err
	}

	b.commitLock.Lock()
	defer b.commitLock.Unlock()
	if err := b.configFitsRoles(ctx, req.Storage, stored, config); err != nil {
		return nil, err
	}
	if err := writeConfig(ctx, req.Storage, config); err != nil {
		return nil, err
	}
	b.disconnect()
	if len(warnings) == 0 {
		return nil, nil
	}
	return &logical.Response{Warnings: warnings}, nil
}

func (b *backend) configDelete(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	unlock, err := b.configLock.lock(ctx, storageConfig)
	if err != nil {
		return nil, err
	}
	defer unlock()
	b.commitLock.Lock()
	defer b.commitLock.Unlock()

	roles, err := req.Storage.List(ctx, storageRoles)
	if err != nil {
		return nil, err
	}
	if len(roles) > 0 {
		return nil, badRequest("the configuration cannot be deleted while roles exist (there are %d): delete them first", len(roles))
	}
	if err := req.Storage.Delete(ctx, storageConfig); err != nil {
		return nil, err
	}
	b.disconnect()
	return nil, nil
}

// updatedConfig is what is stored, changed by what was sent and nothing else.
func updatedConfig(stored *configEntry, d *framework.FieldData) (*configEntry, error) {
	config := configEntry{
		RequestTimeout:   defaultRequestTimeout,
		PropagationDelay: defaultPropagationDelay,
		VerifyConnection: true,
	}
	if stored != nil {
		config = *stored
	}
	secret, secretSent := sentString(d, fieldClientSecret)
	if secretSent {
		config.ClientSecret = sensitive(secret)
	}
	for field, target := range map[string]*string{
		fieldDomain: &config.Domain, fieldClientID: &config.ClientID,
		fieldAudience: &config.Audience, fieldCACert: &config.CACert,
	} {
		if value, ok := sentString(d, field); ok {
			*target = strings.TrimSpace(value)
		}
	}
	config.Domain = strings.ToLower(config.Domain)
	for field, target := range map[string]*time.Duration{
		fieldRequestTimeout: &config.RequestTimeout, fieldPropagationDelay: &config.PropagationDelay,
	} {
		if value, ok := sentDuration(d, field); ok {
			*target = value
		}
	}
	if value, ok := sentBool(d, fieldVerifyConnection); ok {
		config.VerifyConnection = value
	}
	return &config, config.check()
}

// check refuses what cannot work, before anybody is asked.
func (c *configEntry) check() error {
	switch {
	case c.Domain == "":
		return badRequest("%s is missing: the host of the tenant, such as example.eu.auth0.com", fieldDomain)
	case c.ClientID == "":
		return badRequest("%s is missing: that of a machine-to-machine application that may use the Management API", fieldClientID)
	case c.ClientSecret == "":
		return badRequest("%s is missing: that of the application %q", fieldClientSecret, c.ClientID)
	case c.RequestTimeout < minRequestTimeout || c.RequestTimeout > maxRequestTimeout:
		return badRequest("%s must be between %s and %s", fieldRequestTimeout, minRequestTimeout, maxRequestTimeout)
	case c.PropagationDelay > maxPropagationDelay:
		return badRequest("%s must be at most %s", fieldPropagationDelay, maxPropagationDelay)
	case c.CACert != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.CACert)):
		return badRequest("%s holds no PEM certificate", fieldCACert)
	}
	if err := checkClientID(c.ClientID); err != nil {
		return err
	}
	return checkDomain(c.Domain)
}

func checkDomain(domain string) error {
	u, err := url.Parse("https://" + domain)
	plain := err == nil && u.Host == domain && u.Hostname() != "" && u.User == nil && !strings.HasSuffix(domain, ":")
	if !plain || strings.ContainsAny(domain, " \t%_\\") {
		return badRequest("%s %q is not a host: give it as example.eu.auth0.com or host:port, without scheme and path", fieldDomain, domain)
	}
	return nil
}

// configFitsRoles refuses a configuration that contradicts the roles there are.
func (b *backend) configFitsRoles(ctx context.Context, storage logical.Storage, stored, config *configEntry) error {
	owner, _, err := owningRole(ctx, storage, config.ClientID)
	if err != nil {
		return err
	}
	if owner != "" {
		return badRequest("application %q is role %q: the engine's own application cannot be a role of its mount", config.ClientID, owner)
	}
	if stored == nil || stored.Domain == config.Domain {
		return nil
	}
	roles, err := storage.List(ctx, storageRoles)
	if err != nil {
		return err
	}
	if len(roles) > 0 {
		return badRequest("%s cannot be changed while roles exist (there are %d): they belong to the tenant at %q. "+
			"Delete them first, or mount the engine once more for the other tenant", fieldDomain, len(roles), stored.Domain)
	}
	return nil
}

// verifyConfig gets a token with the configuration, and notes what it allows.
func (b *backend) verifyConfig(ctx context.Context, config *configEntry) ([]string, error) {
	config.Scopes = nil
	if !config.VerifyConnection {
		return nil, nil
	}
	api, err := b.newAPI(config.client(b))
	if err != nil {
		return nil, badRequest("the configuration cannot be used: %s", err)
	}
	defer api.Close()
	grant, err := api.Grant(ctx)
	switch {
	case err == nil:
	case auth0.ClassOf(err) == auth0.Refused:
		return nil, badRequest("Auth0 does not accept these credentials, nothing was stored: %s", err)
	default:
		return nil, badRequest("the configuration could not be verified, nothing was stored: %s. "+
			"Mend it or try again; %s=false stores it without a check", err, fieldVerifyConnection)
	}
	config.Scopes = grant.Scopes
	if grant.Scopes == nil {
		return []string{"Auth0 did not say which scopes it granted, so they could not be checked"}, nil
	}
	if !slices.Contains(grant.Scopes, scopeUpdateClientKeys) {
		return nil, badRequest("the application's grant lacks the scope %s, without which no secret can be rotated; nothing was stored. "+
			"Granted: %s", scopeUpdateClientKeys, strings.Join(grant.Scopes, " "))
	}
	return scopeWarnings(grant.Scopes), nil
}

func scopeWarnings(scopes []string) []string {
	var warnings []string
	for _, scope := range []struct{ name, loss string }{
		{scopeReadClients, "the engine cannot check whether an application is fit to be a role"},
		{scopeReadClientKeys, "the engine cannot read an application's present secret: creating a role needs " + fieldClientSecret +
			" or " + fieldSkipImport + ", and after an unclear answer to a rotation with " + fieldSecretSource + "=" + string(sourceAuth0) +
			" it has to rotate again"},
	} {
		if !slices.Contains(scopes, scope.name) {
			warnings = append(warnings, fmt.Sprintf("scope %s was not granted: %s", scope.name, scope.loss))
		}
	}
	return warnings
}

// audience is the Management API's, the domain's own unless told otherwise.
func (c *configEntry) audience() string {
	if c.Audience != "" {
		return c.Audience
	}
	return "https://" + c.Domain + "/api/v2/"
}

func (c *configEntry) client(b *backend) auth0.Config {
	return auth0.Config{
		Domain: c.Domain, ClientID: c.ClientID, ClientSecret: string(c.ClientSecret), Audience: c.audience(),
		CACert: c.CACert, RequestTimeout: c.RequestTimeout,
		UserAgent: userAgent + "/" + Version, Logger: b.Logger(),
	}
}
