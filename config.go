package auth0secrets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
)

const (
	maxRequestTimeout = requirements.MaxRequestTimeout
	// minRootPeriod is the shortest time between rotations of the engine's own secret.
	minRootPeriod = 20 * time.Second
)

// updatedConfig is what is stored, changed by what was sent and nothing else.
func updatedConfig(stored *configEntry, d *framework.FieldData, now time.Time) (*configEntry, error) {
	config := configEntry{
		RequestTimeout:   defaultRequestTimeout,
		PropagationDelay: defaultPropagationDelay,
		DriftCheckPeriod: defaultDriftCheckPeriod,
		VerifyConnection: true,
	}
	if stored != nil {
		config = *stored
	}
	if err := config.applyCredential(d, now); err != nil {
		return nil, err
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
		fieldDriftCheckPeriod: &config.DriftCheckPeriod,
	} {
		if value, ok := sentDuration(d, field); ok {
			*target = value
		}
	}
	if value, ok := sentBool(d, fieldVerifyConnection); ok {
		config.VerifyConnection = value
	}
	plan := readSentPlan(d)
	if err := plan.apply(&config.rotationPlan, now); err != nil {
		return nil, err
	}
	if err := config.rotationPlan.check(minRootPeriod, "", now); err != nil {
		return nil, err
	}
	return &config, config.check()
}

// applyCredential takes in a client secret or a private key, in place of what
// there was.
func (c *configEntry) applyCredential(d *framework.FieldData, now time.Time) error {
	secret, secretSent := sentString(d, fieldClientSecret)
	key, keySent := sentString(d, fieldPrivateKey)
	algorithm, algorithmSent := sentString(d, fieldSigningAlgorithm)
	switch {
	case (secretSent && secret != "" || keySent) && c.Rotation.isPast(sensitive(secret+key)):
		return badRequest("that is the engine's earlier credential, which %s has replaced: leave it out, and the present one stays", pathRotateRootName)
	case secretSent && keySent:
		return badRequest("%s and %s exclude each other: send the one by which the application authenticates", fieldClientSecret, fieldPrivateKey)
	case secretSent:
		c.SigningAlgorithm = ""
	case keySent:
		secret = key
		if c.SigningAlgorithm == "" {
			c.SigningAlgorithm = auth0.SigningAlgorithms[0]
		}
	}
	// The present one, sent again, changes nothing of its history.
	if same := c.Rotation.Current != nil && c.Rotation.Current.Value == sensitive(secret); (secretSent || keySent) && !same {
		c.Rotation = rotationState{Current: &secretVersion{Version: 1, Value: sensitive(secret)}, LastRotation: now}
	}
	if !algorithmSent {
		return nil
	}
	if c.SigningAlgorithm == "" {
		return badRequest("%s is only for use with %s", fieldSigningAlgorithm, fieldPrivateKey)
	}
	if err := requirements.CheckAlgorithm(algorithm); err != nil {
		return badRequest("%s", err)
	}
	c.SigningAlgorithm = algorithm
	return nil
}

// check refuses what cannot work, before anybody is asked.
func (c *configEntry) check() error {
	connection := requirements.Connection{
		Domain: c.Domain, ClientID: c.ClientID, SigningAlgorithm: c.SigningAlgorithm,
		CACert: c.CACert, RequestTimeout: c.RequestTimeout,
	}
	if c.Rotation.Current != nil {
		connection.Secret = string(c.Rotation.Current.Value)
	}
	err := connection.Check()
	switch {
	case err != nil:
		return badRequest("%s", err)
	case c.PropagationDelay > maxPropagationDelay:
		return badRequest("%s must be at most %s", fieldPropagationDelay, maxPropagationDelay)
	case c.DriftCheckPeriod != 0 && (c.DriftCheckPeriod < minDriftCheckPeriod || c.DriftCheckPeriod > maxRotationPeriod):
		return badRequest("%s must be 0 (never) or at least %s", fieldDriftCheckPeriod, minDriftCheckPeriod)
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

// credentialsFitDomain refuses to send stored credentials to another domain: who
// may write the configuration may still not be one who may know them.
func credentialsFitDomain(stored, config *configEntry, d *framework.FieldData) error {
	_, secretSent := sentString(d, fieldClientSecret)
	_, keySent := sentString(d, fieldPrivateKey)
	if stored == nil || stored.Domain == config.Domain || secretSent || keySent {
		return nil
	}
	return badRequest("%s cannot be changed without credentials for the new one: the stored ones are not sent there. "+
		"Send %s or %s along", fieldDomain, fieldClientSecret, fieldPrivateKey)
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
	var upstream *auth0.Error
	switch {
	case err == nil:
	case errors.As(err, &upstream) && upstream.Class == auth0.Refused && upstream.Status == 0:
		return nil, badRequest("the tenant cannot be reached with this configuration, nothing was stored: %s", err)
	case auth0.ClassOf(err) == auth0.Refused:
		return nil, badRequest("Auth0 does not accept these credentials, nothing was stored: %s", err)
	default:
		return nil, fmt.Errorf("the configuration could not be verified, nothing was stored: %w. "+
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
	return requirements.ScopeWarnings(config.Scopes, config.SigningAlgorithm != ""), nil
}

// audience is the Management API's, the domain's own unless told otherwise.
func (c *configEntry) audience() string { return requirements.Audience(c.Domain, c.Audience) }

// isPast says whether the secret is one that was replaced, or is about to be
// the next.
func (s rotationState) isPast(secret sensitive) bool {
	return s.holds(secret) && (s.Current == nil || s.Current.Value != secret)
}

// loginSecrets are the secrets with which the engine logs in, in the order in
// which it tries them: while its own secret is rotated there are two, and either
// may be the one that Auth0 accepts.
func (c *configEntry) loginSecrets() []string {
	values := c.Rotation.servedValues()
	if pending := len(values) - 1; c.Rotation.Next != nil { // first the pending one, which comes last when it is served
		values = slices.Concat(values[pending:], values[:pending])
	}
	return values
}

func (c *configEntry) client(b *backend) auth0.Config {
	return auth0.Config{
		Domain: c.Domain, ClientID: c.ClientID, Secrets: c.loginSecrets(), SigningAlgorithm: c.SigningAlgorithm,
		Audience: c.audience(), CACert: c.CACert, RequestTimeout: c.RequestTimeout,
		UserAgent: userAgent + "/" + Version, Logger: b.Logger(), Limits: b.limitsOf(c.Domain),
	}
}
