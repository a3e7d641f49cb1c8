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
	"github.com/ryanuber/go-glob"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
	"vault-plugin-secrets-auth0/internal/rotation"
)

const (
	// minRootPeriod is the shortest time between rotations of the engine's own secret.
	minRootPeriod = 20 * time.Second
)

// updatedConfig returns the stored configuration with the fields that were sent.
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
	for field, target := range map[string]*string{
		fieldDomain: &config.Domain, fieldClientID: &config.ClientID,
		fieldAudience: &config.Audience, fieldCACert: &config.CACert,
	} {
		take(d, field, target)
		*target = strings.TrimSpace(*target)
	}
	config.Domain = strings.ToLower(config.Domain)
	if err := config.applyCredential(stored, d, now); err != nil {
		return nil, err
	}
	for field, target := range map[string]*time.Duration{
		fieldRequestTimeout: &config.RequestTimeout, fieldPropagationDelay: &config.PropagationDelay,
		fieldDriftCheckPeriod: &config.DriftCheckPeriod,
	} {
		take(d, field, target)
	}
	take(d, fieldVerifyConnection, &config.VerifyConnection)
	if take(d, fieldAllowedApplications, &config.AllowedApplications) && config.AllowedApplications == nil {
		config.AllowedApplications = []string{} // none; nil would be all
	}
	if err := config.changePlan(d, &config.Rotation, now); err != nil {
		return nil, err
	}
	if err := config.rotationPlan.check(minRootPeriod, "", now); err != nil {
		return nil, err
	}
	return &config, config.check()
}

// applyCredential replaces the client secret or private key. The present one, sent
// again for the same tenant and application, keeps its history. Sent for others, it
// starts a new one.
func (c *configEntry) applyCredential(stored *configEntry, d *framework.FieldData, now time.Time) error {
	secret, secretSent := sent[string](d, fieldClientSecret)
	key, keySent := sent[string](d, fieldPrivateKey)
	algorithm, algorithmSent := sent[string](d, fieldSigningAlgorithm)
	credential := rotation.Secret(secret + key)
	same := stored != nil && stored.Domain == c.Domain && stored.ClientID == c.ClientID
	switch {
	case same && credential != "" && c.Rotation.Holds(credential) && !c.Rotation.IsCurrent(credential):
		return badRequest("that is the engine's earlier credential, which %s has replaced: leave it out, and the present one stays", pathRotateRootName)
	case secretSent && keySent:
		return badRequest("%s and %s exclude each other: send the one by which the application authenticates", fieldClientSecret, fieldPrivateKey)
	case secretSent:
		c.SigningAlgorithm = ""
	case keySent && c.SigningAlgorithm == "":
		c.SigningAlgorithm = assertion.Algorithms[0]
	}
	if (secretSent || keySent) && (!same || !c.Rotation.IsCurrent(credential)) {
		c.Rotation = rotation.Imported(credential, 0, now)
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

// check refuses settings that cannot work. It asks nobody.
func (c *configEntry) check() error {
	connection := requirements.Connection{
		Domain: c.Domain, ClientID: c.ClientID, SigningAlgorithm: c.SigningAlgorithm,
		CACert: c.CACert, RequestTimeout: c.RequestTimeout,
	}
	connection.Secret = string(c.Rotation.Current())
	err := connection.Check()
	switch {
	case err != nil:
		return badRequest("%s", err)
	case c.PropagationDelay > rotation.MaxPropagationDelay:
		return badRequest("%s must be at most %s", fieldPropagationDelay, rotation.MaxPropagationDelay)
	case c.DriftCheckPeriod != 0 && (c.DriftCheckPeriod < minDriftCheckPeriod || c.DriftCheckPeriod > maxRotationPeriod):
		return badRequest("%s must be 0 (never) or at least %s", fieldDriftCheckPeriod, minDriftCheckPeriod)
	}
	return nil
}

// delayWarnings warn of a propagation_delay that is sent: of none, and of one that is
// longer than before, which roles with close rotations may not have time for.
func (b *backend) delayWarnings(ctx context.Context, storage logical.Storage, stored *configEntry, d *framework.FieldData) ([]string, error) {
	delay, ok := sent[time.Duration](d, fieldPropagationDelay)
	switch {
	case !ok || (delay != 0 && (stored == nil || delay <= stored.PropagationDelay)):
		return nil, nil
	case delay == 0:
		return []string{fieldPropagationDelay + "=0: after a rotation the previous secret is not served at all. " +
			"Logins at servers of Auth0 that the new one has not reached yet are refused"}, nil
	}
	late := 0
	gaps := map[string]time.Duration{} // by schedule: it takes milliseconds, and many roles have the same
	_, _, err := b.eachRole(ctx, storage, func(_ string, set *servedSet) {
		role := set.role
		key := role.RotationPeriod.String() + " " + role.RotationSchedule
		if _, known := gaps[key]; !known {
			gaps[key] = role.shortestGap(b.now())
		}
		if gaps[key] < role.takes(delay) {
			late++
		}
	})
	if err != nil || late == 0 {
		return nil, err
	}
	return []string{fmt.Sprintf("rotations of roles (%d) take effect later than their schedules say, which have them closer than one takes with this %s",
		late, fieldPropagationDelay)}, nil
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
		return badRequest("%s cannot be changed while roles exist (%d): they belong to the tenant at %q. "+
			"Delete them first, or mount the engine once more for the other tenant", fieldDomain, len(roles), stored.Domain)
	}
	return nil
}

// credentialsFitConnection refuses to send the stored credential to another domain,
// to a server that another CA vouches for, or for another API. Who may write the
// configuration need not be allowed to know it.
func credentialsFitConnection(stored, config *configEntry, d *framework.FieldData) error {
	_, secretSent := sent[string](d, fieldClientSecret)
	_, keySent := sent[string](d, fieldPrivateKey)
	if stored == nil || secretSent || keySent {
		return nil
	}
	for _, field := range []struct{ name, before, after string }{
		{fieldDomain, stored.Domain, config.Domain},
		{fieldCACert, stored.CACert, config.CACert},
		{fieldAudience, stored.audience(), config.audience()},
	} {
		if field.before != field.after {
			return badRequest("%s cannot be changed without the credential: the stored one is sent nowhere new. "+
				"Send %s or %s along. If only Vault knows it, set another one in Auth0 first", field.name, fieldClientSecret, fieldPrivateKey)
		}
	}
	return nil
}

// allows reports whether an application may become a role. A pattern without * is a
// client ID. It never matches a name, which anybody could choose to be that ID. name
// is "" where the engine may not read it.
func (c *configEntry) allows(clientID, name string) bool {
	return slices.ContainsFunc(c.allowedApplications(), func(pattern string) bool {
		switch {
		case !strings.Contains(pattern, "*"):
			return pattern == clientID
		case name == "":
			return pattern == "*"
		default:
			return glob.Glob(strings.ToLower(pattern), strings.ToLower(name))
		}
	})
}

// allowedApplications returns AllowedApplications or its default.
func (c *configEntry) allowedApplications() []string {
	if c.AllowedApplications == nil {
		return []string{"*"}
	}
	return c.AllowedApplications
}

// connectsAs reports whether tokens that were got by c are those that another
// configuration would get.
func (c *configEntry) connectsAs(other *configEntry) bool {
	return c.Domain == other.Domain && c.ClientID == other.ClientID && c.audience() == other.audience() && c.CACert == other.CACert &&
		c.Rotation.IsCurrent(other.Rotation.Current())
}

// concernsConnection reports whether a write has to be verified with Auth0. Others
// work while Auth0 is down, such as pausing rotation.
func concernsConnection(sent map[string]any) bool {
	others := []string{
		fieldRotationPeriod, fieldRotationSchedule, fieldRotationWindow, fieldDisableRotation, fieldPropagationDelay, fieldDriftCheckPeriod,
		fieldAllowedApplications,
	}
	for field := range sent {
		if !slices.Contains(others, field) {
			return true
		}
	}
	return len(sent) == 0
}

// ownCA says what to do about a certificate that is not trusted.
func ownCA(err *auth0.Error) string {
	if slices.Contains([]string{auth0.ReasonUnknownCA, auth0.ReasonCertificate, auth0.ReasonExpired}, err.Message) {
		return ". If a proxy of yours terminates TLS, or the domain has a CA of its own, send that CA: " + fieldCACert + "=@ca.pem"
	}
	return ""
}

// verifyConfig gets a token with the configuration, and notes the granted scopes.
func (b *backend) verifyConfig(ctx context.Context, config *configEntry) ([]string, error) {
	if !config.VerifyConnection {
		config.Scopes = nil
		return nil, nil
	}
	api, err := b.newAPI(b.clientSettings(config))
	if err != nil {
		return nil, badRequest("the configuration cannot be used: %s", err)
	}
	defer api.Close()
	grant, err := api.Grant(ctx)
	var upstream *auth0.Error
	switch {
	case err == nil:
	case errors.As(err, &upstream) && upstream.Class == auth0.Refused && upstream.Status == 0:
		return nil, badRequest("the tenant cannot be reached with this configuration, nothing was stored: %s%s", err, ownCA(upstream))
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

// commitConfig stores a configuration, unless roles contradict it by now, and
// schedules what depends on it. A write that failed may have taken effect.
func (b *backend) commitConfig(ctx context.Context, storage logical.Storage, stored, config *configEntry) error {
	b.commitLock.Lock()
	defer b.commitLock.Unlock()
	if err := b.configFitsRoles(ctx, storage, stored, config); err != nil {
		return err
	}
	err := writeConfig(ctx, storage, config)
	b.disconnect()
	if stored == nil || !stored.connectsAs(config) {
		b.tokens.drop(everyToken)
	}
	if err == nil {
		_, err = b.connect(ctx, storage)
	}
	b.due.Set(dueRoot, b.now())
	if err != nil || stored == nil || stored.Disabled != config.Disabled || stored.DriftCheckPeriod != config.DriftCheckPeriod {
		b.due.Again()
	}
	return err
}
