package auth0secrets

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
)

const (
	minRequestTimeout = time.Second
	maxRequestTimeout = time.Minute
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
	if !slices.Contains(auth0.SigningAlgorithms, algorithm) {
		return badRequest("%s %q is not known to Auth0: it is one of %s", fieldSigningAlgorithm, algorithm, strings.Join(auth0.SigningAlgorithms, ", "))
	}
	c.SigningAlgorithm = algorithm
	return nil
}

// check refuses what cannot work, before anybody is asked.
func (c *configEntry) check() error {
	switch {
	case c.Domain == "":
		return badRequest("%s is missing: the host of the tenant, such as example.eu.auth0.com", fieldDomain)
	case c.ClientID == "":
		return badRequest("%s is missing: that of a machine-to-machine application that may use the Management API", fieldClientID)
	case c.Rotation.Current == nil || c.Rotation.Current.Value == "":
		return badRequest("%s or %s is missing: that of the application %q", fieldClientSecret, fieldPrivateKey, c.ClientID)
	case c.RequestTimeout < minRequestTimeout || c.RequestTimeout > maxRequestTimeout:
		return badRequest("%s must be between %s and %s", fieldRequestTimeout, minRequestTimeout, maxRequestTimeout)
	case c.PropagationDelay > maxPropagationDelay:
		return badRequest("%s must be at most %s", fieldPropagationDelay, maxPropagationDelay)
	case c.DriftCheckPeriod != 0 && (c.DriftCheckPeriod < minDriftCheckPeriod || c.DriftCheckPeriod > maxRotationPeriod):
		return badRequest("%s must be 0 (never) or at least %s", fieldDriftCheckPeriod, minDriftCheckPeriod)
	case c.CACert != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.CACert)):
		return badRequest("%s holds no PEM certificate", fieldCACert)
	}
	if c.SigningAlgorithm != "" {
		if _, err := auth0.ParsePrivateKey(string(c.Rotation.Current.Value)); err != nil {
			return badRequest("%s cannot be used: %s", fieldPrivateKey, err)
		}
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
	return config.scopeWarnings(), nil
}

// scopeWarnings say what will not work without the scopes that are missing.
func (c *configEntry) scopeWarnings() []string {
	var warnings []string
	for _, scope := range []struct{ name, loss string }{
		{scopeReadClients, "the engine cannot check whether an application is fit to be a role"},
		{scopeReadClientKeys, "the engine cannot read an application's present secret: creating a role needs " + fieldClientSecret +
			" or " + fieldSkipImport + ", and after an unclear answer to a rotation with " + fieldSecretSource + "=" + string(sourceAuth0) +
			" it has to rotate again. " + driftUnavailableText},
	} {
		if !slices.Contains(c.Scopes, scope.name) && (scope.name != scopeReadClientKeys || !canReadSecrets(c.Scopes)) {
			warnings = append(warnings, fmt.Sprintf("scope %s was not granted: %s", scope.name, scope.loss))
		}
	}
	if missing := missingScopes(auth0.KeyScopes, c.Scopes); c.SigningAlgorithm != "" && len(missing) > 0 {
		warnings = append(warnings, fmt.Sprintf("scopes %s were not granted: %s cannot replace the engine's key",
			strings.Join(missing, ", "), pathRotateRootName))
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

// isPast says whether the secret is one that was replaced, or is about to be
// the next.
func (s rotationState) isPast(secret sensitive) bool {
	return s.holds(secret) && (s.Current == nil || s.Current.Value != secret)
}

// canReadSecrets says whether scopes let client secrets be read.
func canReadSecrets(scopes []string) bool {
	return slices.Contains(scopes, scopeReadClientKeys) || slices.Contains(scopes, scopeReadClientCredentials)
}

// missingScopes are those that are wanted and not granted.
func missingScopes(wanted, granted []string) []string {
	var missing []string
	for _, scope := range wanted {
		if !slices.Contains(granted, scope) {
			missing = append(missing, scope)
		}
	}
	return missing
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
