package auth0secrets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
	"vault-plugin-secrets-auth0/internal/rotation"
)

// storageTokenRoles is where token roles are stored. They hold no secrets, and no tokens.
//
//	token-role/<name>  {"format":2,"role":"shop","audience":"https://api.example.com/","scopes":["read:orders"]}
const storageTokenRoles = "token-role/"

// scopePattern is a scope by RFC 6749.
var scopePattern = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`)

const (
	// defaultMinTTL is for how long a token that is handed out is good at least.
	defaultMinTTL = 5 * time.Minute
	// propagationRetries is how often a login is made again while a secret propagates.
	propagationRetries = 3
	// leastMinTTL is the least that min_ttl can be.
	leastMinTTL = leastLeft
)

// tokenRemedies are what to do where Auth0 refuses a role's application a token, by the
// reason.
var tokenRemedies = map[string]string{
	auth0.ReasonNoSuchAPI:         "send the identifier of an API of the tenant as audience, to the letter",
	auth0.ReasonNotAuthorized:     "authorise the application for the API in Auth0, or send another audience",
	auth0.ReasonGrantType:         "allow it among the application's grant types in Auth0",
	auth0.ReasonOrganization:      "say which, as organization",
	auth0.ReasonNoOrganization:    "have the grant allow them in Auth0, or set organization to nothing",
	auth0.ReasonOtherOrganization: "add it to the grant in Auth0, or send another organization",
	auth0.ReasonCredential:        "if the secret was changed outside Vault, force=true at rotate/<role> sets a new one",
}

// tokenRoleEntry is a stored token role.
type tokenRoleEntry struct {
	storedFormat
	Scopes       []string          `json:"scopes"`
	Role         string            `json:"role,omitempty"`         // by whose application tokens are got; "": the engine's own
	Audience     string            `json:"audience,omitempty"`     // "": the Management API
	Organization string            `json:"organization,omitempty"` // its ID or name
	MinTTL       time.Duration     `json:"min_ttl,omitempty"`
	Unshared     bool              `json:"unshared,omitempty"` // each reader gets a token of its own
	Metadata     map[string]string `json:"metadata,omitempty"`
}

func newTokenRole() *tokenRoleEntry {
	return &tokenRoleEntry{Scopes: []string{}, MinTTL: defaultMinTTL, Metadata: map[string]string{}}
}

// readTokenRole reads a token role. Nil: there is none. Those of earlier versions have
// scopes and a role only.
func readTokenRole(ctx context.Context, storage logical.Storage, name string) (*tokenRoleEntry, error) {
	role, err := readEntry[tokenRoleEntry](ctx, storage, storageTokenRoles+name)
	if err != nil || role == nil {
		return nil, err
	}
	if role.MinTTL == 0 {
		role.MinTTL = defaultMinTTL
	}
	if role.Metadata == nil {
		role.Metadata = map[string]string{}
	}
	if role.Scopes == nil {
		role.Scopes = []string{}
	}
	return role, nil
}

// management reports whether the tokens are for the Management API.
func (r *tokenRoleEntry) management(config *configEntry) bool {
	return r.Audience == "" || r.Audience == config.audience()
}

// change changes a token role's settings by what a request sent.
func (r *tokenRoleEntry) change(d *framework.FieldData) {
	take(d, fieldScopes, &r.Scopes)
	for field, target := range map[string]*string{fieldRole: &r.Role, fieldAudience: &r.Audience, fieldOrganization: &r.Organization} {
		take(d, field, target)
	}
	take(d, fieldMinTTL, &r.MinTTL)
	take(d, fieldMetadata, &r.Metadata)
	if shared, ok := sent[bool](d, fieldShared); ok {
		r.Unshared = !shared
	}
}

// check refuses settings that cannot work. It asks nobody.
func (r *tokenRoleEntry) check(config *configEntry) error {
	for _, scope := range r.Scopes {
		if !scopePattern.MatchString(scope) {
			return badRequest("%q is not a scope: give them as a list, or separated by commas", scope)
		}
	}
	switch {
	case r.management(config) && len(r.Scopes) == 0:
		return badRequest("%s is missing: those that the tokens for the Management API are to carry, such as read:users. "+
			"For tokens for another API send its %s", fieldScopes, fieldAudience)
	case !r.management(config) && r.Role == "":
		return badRequest("%s is missing: the engine's own application gets tokens for the Management API only. "+
			"Make a role of the application that may use %q, and name it", fieldRole, r.Audience)
	case r.Organization != "" && r.Role == "":
		return badRequest("%s is only for use with %s", fieldOrganization, fieldRole)
	case r.MinTTL < leastMinTTL:
		return badRequest("%s must be at least %s", fieldMinTTL, leastMinTTL)
	}
	return nil
}

// heldTokenRoles keeps token roles in memory, so that reads of tokens need no storage.
type heldTokenRoles struct {
	mu      sync.RWMutex
	roles   map[string]*tokenRoleEntry // they never change
	changes int
}

func newHeldTokenRoles() *heldTokenRoles { return &heldTokenRoles{roles: map[string]*tokenRoleEntry{}} }

// get returns a token role, and loads it if need be.
func (h *heldTokenRoles) get(ctx context.Context, storage logical.Storage, name string) (*tokenRoleEntry, error) {
	h.mu.RLock()
	role, before := h.roles[name], h.changes
	h.mu.RUnlock()
	if role != nil {
		return role, nil
	}
	role, err := readTokenRole(ctx, storage, name)
	switch {
	case err != nil:
		return nil, err
	case role == nil:
		return nil, unknownTokenRole(name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changes == before { // else what was loaded may be out of date
		h.roles[name] = role
	}
	return role, nil
}

// forget drops a token role that may have changed in storage.
func (h *heldTokenRoles) forget(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changes++
	delete(h.roles, name)
}

// checkTokenRole refuses a token role for which Auth0 would not grant a token: it gets
// one.
func (b *backend) checkTokenRole(ctx context.Context, storage logical.Storage, conn *connection, role *tokenRoleEntry) (warnings []string, err error) {
	asked := b.now()
	token, err := b.newToken(ctx, storage, conn, role)
	if err != nil {
		return nil, err
	}
	if err := lacksScopes(role, token); err != nil {
		return nil, err
	}
	if life := token.ExpiresAt.Sub(asked).Round(time.Second); !token.ExpiresAt.IsZero() && role.MinTTL > life/2 {
		return nil, badRequest("%s %s is more than half of the life of a token of this API, %s: lower it, or have Auth0 give a longer one",
			fieldMinTTL, role.MinTTL, life)
	}
	if err := fitsTokenRole(conn.config, role, token); err != nil {
		warnings = append(warnings, "it is stored, but as things are now no token can be handed out: "+err.Error())
	}
	return warnings, nil
}

// token returns a token of a token role, to hand it out.
func (b *backend) token(ctx context.Context, storage logical.Storage, conn *connection, name string, role *tokenRoleEntry) (heldToken, error) {
	id, err := b.tokenIdentity(ctx, storage, conn.config, name, role)
	if err != nil {
		return heldToken{}, err
	}
	fetch := func(ctx context.Context) (token auth0.AccessToken, err error) {
		defer b.caught(func(failure error) { err = failure }, "fetch of a token")
		ctx, done := b.detached(ctx, upstreamPatience)
		defer done()
		if token, err = b.newToken(ctx, storage, conn, role); err == nil {
			err = fitsTokenRole(conn.config, role, token)
		}
		return token, err
	}
	if role.Unshared {
		token, err := fetch(ctx)
		return heldToken{AccessToken: token}, err
	}
	return b.tokens.get(ctx, id, role.MinTTL, fetch)
}

// tokenIdentity returns what makes the tokens of a token role.
func (b *backend) tokenIdentity(
	ctx context.Context, storage logical.Storage, config *configEntry, name string, role *tokenRoleEntry,
) (tokenIdentity, error) {
	id := tokenIdentity{
		TokenRole: name, Domain: config.Domain, Role: role.Role, ClientID: config.ClientID, Audience: cmp.Or(role.Audience, config.audience()),
		Scopes: strings.Join(role.Scopes, " "), Organization: role.Organization,
	}
	if role.Role != "" {
		set, err := b.lookUp(ctx, storage, role.Role)
		if err != nil {
			return id, err
		}
		id.ClientID = set.role.ClientID
	}
	return id, nil
}

// forgetTokenRole drops a token role that may have changed in storage, with its token.
func (b *backend) forgetTokenRole(name string) {
	b.tokenRoles.forget(name)
	b.tokens.drop(func(id tokenIdentity) bool { return id.TokenRole == name })
}

// dropTokens drops the tokens that the application of a role has got; "": the engine's
// own.
func (b *backend) dropTokens(role string) {
	b.tokens.drop(func(id tokenIdentity) bool { return id.Role == role })
}

// everyToken is for Drop.
func everyToken(tokenIdentity) bool { return true }

// newToken gets a new token for the token role. The configuration may have changed since
// that was written, and the Management API with it.
func (b *backend) newToken(ctx context.Context, storage logical.Storage, conn *connection, role *tokenRoleEntry) (token auth0.AccessToken, err error) {
	if err := role.check(conn.config); err != nil {
		return token, err
	}
	if role.Role == "" {
		return conn.api.NewToken(ctx, role.Scopes)
	}
	if _, err := b.lookUp(ctx, storage, role.Role); err != nil { // login would remember the name
		return token, err
	}
	attempt := func(ctx context.Context, c auth0login.Credentials, secret string) error {
		if c.Domain != conn.config.Domain { // the mount has moved since
			return badRequest("the configuration was changed meanwhile: try again")
		}
		request := auth0.TokenRequest{ClientID: c.ClientID, Secret: secret, Audience: role.Audience, Scopes: role.Scopes, Organization: role.Organization}
		if c.ByAssertion() {
			request.Secret, request.Assertion = "", secret
		}
		var err error
		token, err = conn.api.Token(ctx, request)
		if auth0.SecretRefused(err) {
			return refusedSecret{err}
		}
		return err
	}
	for again := 0; ; again++ {
		err = b.login(storage, role.Role).Login(ctx, attempt)
		if !errors.Is(err, auth0login.ErrRefused) || again == propagationRetries || !b.propagates(ctx, storage, role.Role) {
			break
		}
		if err := b.wait(ctx, proofPause); err != nil {
			return token, err
		}
	}
	if upstream, ok := errors.AsType[*auth0.Error](err); ok && tokenRemedies[upstream.Message] != "" {
		err = fmt.Errorf("%w: %s", err, tokenRemedies[upstream.Message])
	}
	return token, err
}

// propagates reports whether a new secret of a role may not have reached all of Auth0 yet.
// Each attempt may meet another of its servers, and so all of them be refused.
func (b *backend) propagates(ctx context.Context, storage logical.Storage, role string) bool {
	set, err := b.lookUp(ctx, storage, role)
	if err != nil {
		return false
	}
	mount, now := b.mountInMemory(), b.now()
	// A forced rotation of a key does not wait until the new one has reached all.
	return set.view(mount, now).Phase == rotation.Propagating || set.role.keys() && now.Sub(set.role.Rotation.LastRotation()) < mount.PropagationDelay
}

// login returns the application of a role as one that logs in: by the same rules as
// every application that uses auth0login. It remembers which secret worked last.
func (b *backend) login(storage logical.Storage, role string) *auth0login.Application {
	application, _ := b.logins.LoadOrStore(role, auth0login.New(auth0login.SourceFunc(func(ctx context.Context) (auth0login.Credentials, error) {
		set, err := b.servedNow(ctx, storage, role)
		if err != nil {
			return auth0login.Credentials{}, err
		}
		credentials := auth0login.Credentials{Domain: set.role.Domain, ClientID: set.role.ClientID}
		if set.role.keys() {
			credentials.KID = set.kid()
			credentials.ClientAssertion, _, err = set.sign(b.now())
			return credentials, err
		}
		served, _ := set.role.Rotation.Served(set.clock(b.now()))
		credentials.ClientSecrets = inClear(served)
		return credentials, nil
	})))
	return application.(*auth0login.Application) //nolint:forcetypeassert // nothing else is stored
}

// refusedSecret has auth0login try the next secret.
type refusedSecret struct{ error }

// Unwrap gives Auth0's refusal.
func (e refusedSecret) Unwrap() error { return e.error }

// Is makes it a refusal for auth0login.
func (refusedSecret) Is(target error) bool { return target == auth0login.ErrRefused }

func lacksScopes(role *tokenRoleEntry, token auth0.AccessToken) error {
	missing := requirements.Missing(role.Scopes, token.Scopes)
	if token.Scopes == nil || len(missing) == 0 {
		return nil
	}
	grantee := "the engine's application"
	if role.Role != "" {
		grantee = "the application of role " + role.Role
	}
	return badRequest("the grant of %s lacks %s: grant it in Auth0, or leave it out of %s", grantee, strings.Join(missing, ", "), fieldScopes)
}

// fitsTokenRole refuses a token with other scopes than the token role's. For an API
// other than the Management API it may have more: what an API makes of its scopes is its
// own business.
func fitsTokenRole(config *configEntry, role *tokenRoleEntry, token auth0.AccessToken) error {
	if err := lacksScopes(role, token); err != nil || !role.management(config) {
		return err
	}
	if token.Scopes == nil {
		return badRequest("Auth0 did not say which scopes the token carries, so it was not handed out")
	}
	if more := requirements.Missing(token.Scopes, role.Scopes); len(more) > 0 {
		return badRequest("Auth0 granted more than the token role's scopes (%s), so the token was not handed out. "+
			"It grants all that an application has, whatever is asked for, unless an Action of the tenant takes some away: "+
			"make an application that is granted just these scopes, make a role of it, and name that as %s", strings.Join(more, ", "), fieldRole)
	}
	return nil
}
