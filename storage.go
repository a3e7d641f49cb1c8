package auth0secrets

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/rotation"
)

// What the engine stores, all of it encrypted by Vault and seal-wrapped where
// it holds secrets:
//
//	config                   {"format":2,"domain":"...","client_id":"...","rotation":{"current":{...},...},...}
//	role/<name>              {"format":2,"client_id":"...","ttl":...,"rotation":{"current":{"version":3,"value":"..."},...}}
//	application/<client_id>  {"format":2,"role":"<name>"}: which role an application belongs to. Written before
//	                         the role, so every role has one; one without its role is void.
//	rotate-all               {"format":2,"number":7,"started_at":"...",...}: the last rotation of all roles
const (
	storageConfig      = "config"
	storageRoles       = "role/"
	storageApplication = "application/"
	storageBulk        = "rotate-all"

	// entryFormat is written into every entry. A newer format is refused. Format 1 is
	// read: see rotationPlan, bulkEntry and internal/rotation/stored_format_1.go.
	entryFormat = 2
	// keysFormat is that of roles of keys, which versions before these would take for
	// roles of secrets, and hand the keys out.
	keysFormat = 3
)

// configEntry is the stored configuration of the mount.
type configEntry struct {
	storedFormat
	Domain   string `json:"domain"`
	ClientID string `json:"client_id"`
	// SigningAlgorithm is set if the engine authenticates by private_key_jwt:
	// its secrets are private keys then, in PEM.
	SigningAlgorithm string        `json:"signing_algorithm,omitempty"`
	Audience         string        `json:"audience,omitempty"` // empty: the domain's own
	CACert           string        `json:"ca_cert,omitempty"`
	RequestTimeout   time.Duration `json:"request_timeout"`
	PropagationDelay time.Duration `json:"propagation_delay"`
	VerifyConnection bool          `json:"verify_connection"`
	DriftCheckPeriod time.Duration `json:"drift_check_period,omitempty"` // 0: never
	// rotationPlan is for the engine's own secret; Disabled holds for the whole
	// mount.
	rotationPlan
	// Rotation holds the engine's own secrets: the current one, and during a rotation
	// the next or the previous one.
	Rotation rotation.State `json:"rotation"`
	// AllowedApplications are client IDs, and globs of names. Nil: all, as in entries
	// from before this field.
	AllowedApplications []string `json:"allowed_applications"`
	// Scopes are those that Auth0 granted at the last verification. Nil: never
	// verified, or Auth0 did not say.
	Scopes []string `json:"scopes,omitempty"`
}

// roleEntry is a stored role: settings and secrets.
type roleEntry struct {
	storedFormat
	Domain   string        `json:"domain"` // of the tenant; the mount's cannot change while roles exist
	ClientID string        `json:"client_id"`
	TTL      time.Duration `json:"ttl"`
	rotationPlan
	SecretSource   rotation.Source `json:"secret_source"`
	PasswordPolicy string          `json:"password_policy,omitempty"`
	// SecretEncoded is Auth0's jwt_configuration.secret_encoded.
	SecretEncoded bool `json:"secret_encoded,omitempty"`
	// CredentialType is not in entries from before there were keys. The other three are
	// of keys only.
	CredentialType   credentialType `json:"credential_type,omitempty"`
	SigningAlgorithm string         `json:"signing_algorithm,omitempty"`
	KeyBits          int            `json:"key_bits,omitempty"` // of the next key
	Exportable       bool           `json:"exportable,omitempty"`
	Rotation         rotation.State `json:"rotation"`
}

// mountSettings are the settings of the mount that concern all roles.
type mountSettings struct {
	Configured       bool
	PropagationDelay time.Duration
	Paused           bool
	DriftCheckPeriod time.Duration // 0: never
	Bulk             int           // number of the last rotation of all roles
}

func (r *roleEntry) settings(mount mountSettings) rotation.Settings {
	set := rotation.Settings{
		TTL: r.TTL, Period: r.RotationPeriod, Window: r.RotationWindow, Source: r.SecretSource,
		Paused: r.Disabled || mount.Paused, PropagationDelay: mount.PropagationDelay, Bulk: mount.Bulk,
		Exportable: r.Exportable,
	}
	if r.schedule != nil {
		set.Schedule = r.schedule
	}
	return set
}

func (c *configEntry) settings() rotation.Settings {
	set := rotation.Settings{
		Period: c.RotationPeriod, Window: c.RotationWindow, Source: rotation.Vault,
		Paused: c.Disabled, PropagationDelay: c.PropagationDelay,
	}
	if c.schedule != nil {
		set.Schedule = c.schedule
	}
	return set
}

// applicationEntry reserves an application for a role. It outlives the role and
// remembers how long its leases may live: a new role of the application waits for
// them, too.
type applicationEntry struct {
	storedFormat
	Role         string        `json:"role,omitempty"`
	LongestTTL   time.Duration `json:"longest_ttl,omitempty"`
	LongestUntil time.Time     `json:"longest_until,omitzero"`
}

// storedFormat is part of every entry.
type storedFormat struct {
	Format int `json:"format"`
}

func (s *storedFormat) format() *int { return &s.Format }

// written is the format in which the entry is written.
func (s *storedFormat) written() int { return entryFormat }

func (r *roleEntry) written() int {
	if r.keys() {
		return keysFormat
	}
	return entryFormat
}

func readEntry[T any, E interface {
	*T
	format() *int
}](ctx context.Context, storage logical.Storage, key string) (E, error) {
	raw, err := storage.Get(ctx, key)
	if err != nil || raw == nil {
		return nil, err
	}
	entry := E(new(T))
	if err := raw.DecodeJSON(entry); err != nil {
		return nil, &unreadableError{fmt.Sprintf("the stored entry %q cannot be read", key)} // the cause would quote what is in it
	}
	if format := *entry.format(); format > keysFormat {
		return nil, &unreadableError{fmt.Sprintf("the stored entry %q was written by a newer version of this plugin (format %d, this version knows %d)",
			key, format, keysFormat)}
	}
	return entry, nil
}

// unreadableError: an entry was read and cannot be understood.
type unreadableError struct{ text string }

// Error names the entry and, if known, the reason.
func (e *unreadableError) Error() string { return e.text }

func writeEntry(ctx context.Context, storage logical.Storage, key string, entry interface {
	format() *int
	written() int
}) error {
	*entry.format() = entry.written()
	raw, err := logical.StorageEntryJSON(key, entry)
	if err != nil {
		return fmt.Errorf("the entry %q cannot be encoded", key)
	}
	return storage.Put(ctx, raw)
}

func readConfig(ctx context.Context, storage logical.Storage) (*configEntry, error) {
	config, err := readEntry[configEntry](ctx, storage, storageConfig)
	if err != nil || config == nil {
		return nil, err
	}
	if config.Rotation, err = config.loaded(storageConfig, config.Rotation); err != nil {
		return nil, err
	}
	return config, nil
}

func writeConfig(ctx context.Context, storage logical.Storage, entry *configEntry) error {
	return writeEntry(ctx, storage, storageConfig, entry)
}

func readRole(ctx context.Context, storage logical.Storage, name string) (*roleEntry, error) {
	role, err := readEntry[roleEntry](ctx, storage, storageRoles+name)
	if err != nil || role == nil {
		return nil, err
	}
	role.CredentialType = cmp.Or(role.CredentialType, credentialSecret)
	if role.Rotation, err = role.loaded(storageRoles+name, role.Rotation); err != nil {
		return nil, err
	}
	return role, nil
}

func writeRole(ctx context.Context, storage logical.Storage, name string, entry *roleEntry) error {
	return writeEntry(ctx, storage, storageRoles+name, entry)
}

// loaded parses the schedule of a stored plan, and moves what format 1 had in the
// plan to the rotation.
func (p *rotationPlan) loaded(key string, s rotation.State) (rotation.State, error) {
	if err := p.setSchedule(p.RotationSchedule); err != nil {
		return s, &unreadableError{fmt.Sprintf("the stored entry %q has a schedule that cannot be read", key)}
	}
	if !p.Format1From.IsZero() {
		s = s.Rescheduled(p.Format1From)
		p.Format1From = time.Time{}
	}
	return s, nil
}

// roleNames returns the names in a listing, without folders.
func roleNames(keys []string) []string {
	return slices.DeleteFunc(keys, func(key string) bool { return strings.HasSuffix(key, "/") })
}

// bulkEntry is the last rotation of all roles. Each secret carries the number of the
// last one ordered before it was made, imported or found. So which roles are
// concerned, and which are done, follows from their own states, whatever the clocks
// say.
type bulkEntry struct {
	storedFormat
	Number    int       `json:"number"`
	StartedAt time.Time `json:"started_at"`
	Force     bool      `json:"force,omitempty"`
	// AskedAt is when every role concerned carried the request in its own state. From
	// then on each goes on by itself.
	AskedAt time.Time `json:"asked_at,omitzero"`
	// FinishedAt is when all were done, Total how many they were.
	FinishedAt time.Time `json:"finished_at,omitzero"`
	Total      int       `json:"total,omitempty"`
	// CalledOffAt is when it was called off.
	CalledOffAt time.Time `json:"called_off_at,omitzero"`
	// Unnumbered: ordered by format 1, which did not number imports.
	Unnumbered bool `json:"unnumbered,omitempty"`
}

func readBulk(ctx context.Context, storage logical.Storage) (*bulkEntry, error) {
	bulk, err := readEntry[bulkEntry](ctx, storage, storageBulk)
	if bulk != nil && bulk.Format < 2 {
		bulk.Unnumbered = true
	}
	return bulk, err
}

func writeBulk(ctx context.Context, storage logical.Storage, entry *bulkEntry) error {
	written := *entry // whether it is of format 1 is seen of the one that was read
	return writeEntry(ctx, storage, storageBulk, &written)
}

func writeApplication(ctx context.Context, storage logical.Storage, clientID string, entry *applicationEntry) error {
	return writeEntry(ctx, storage, storageApplication+clientID, entry)
}

// owningRole returns the role to which the application belongs, "" if it is free, and
// the leases that a new role of it has to wait for. An entry whose role is gone, or
// has another application, was left by a crash: it is void.
func owningRole(ctx context.Context, storage logical.Storage, clientID string) (string, rotation.Leases, error) {
	entry, err := readEntry[applicationEntry](ctx, storage, storageApplication+clientID)
	if err != nil || entry == nil {
		return "", rotation.Leases{}, err
	}
	leases := rotation.Leases{TTL: entry.LongestTTL, Until: entry.LongestUntil}
	if entry.Role == "" {
		return "", leases, nil
	}
	role, err := readRole(ctx, storage, entry.Role)
	if err != nil || role == nil || role.ClientID != clientID {
		return "", leases, err
	}
	return entry.Role, leases, nil
}
