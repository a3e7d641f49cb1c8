package auth0secrets

import (
	"maps"
	"strconv"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
)

// Names of fields in requests and answers.
const (
	fieldName = "name"

	fieldDomain           = "domain"
	fieldClientID         = "client_id"
	fieldClientSecret     = "client_secret"
	fieldPrivateKey       = "private_key"
	fieldSigningAlgorithm = "signing_algorithm"
	fieldAuthMethod       = "token_endpoint_auth_method"
	fieldAudience         = "audience"
	fieldCACert           = "ca_cert"
	fieldRequestTimeout   = "request_timeout"
	fieldPropagationDelay = "propagation_delay"
	fieldVerifyConnection = "verify_connection"

	fieldAllowedApplications = "allowed_applications"

	fieldScopes           = "scopes"
	fieldDriftCheckPeriod = "drift_check_period"

	fieldTTL            = "ttl"
	fieldRotationPeriod = "rotation_period"
	fieldSecretSource   = "secret_source"

	fieldRotationSchedule = "rotation_schedule"
	fieldRotationWindow   = "rotation_window"
	fieldDisableRotation  = "disable_automated_rotation"

	fieldCredentialType = "credential_type"
	fieldKeyBits        = "key_bits"
	fieldExportable     = "exportable"
	fieldSkipImport     = "skip_import"
	fieldPasswordPolicy = "password_policy"
	fieldForce          = "force"

	fieldFallbackClientSecret = "fallback_client_secret"
	fieldClientSecrets        = "client_secrets"

	fieldPhase             = "phase"
	fieldVersion           = "version"
	fieldStagedAt          = "staged_at"
	fieldReadyAt           = "ready_at"
	fieldFallbackUntil     = "fallback_until"
	fieldLastVaultRotation = "last_vault_rotation"
	fieldNextVaultRotation = "next_vault_rotation"
	fieldLastError         = "last_error"
	fieldFailures          = "failures"
	fieldRetryAt           = "retry_at"

	fieldDriftDetection  = "drift_detection"
	fieldDriftCheckedAt  = "drift_checked_at"
	fieldDriftCheckError = "drift_check_error"
	fieldDriftDetectedAt = "drift_detected_at"
)

// Descriptions of fields, for path-help, OpenAPI and answers.
const (
	descName = "Name of the role. One role stands for one Auth0 application."

	descDomain              = "Domain of the Auth0 tenant: a host, or host:port; no scheme, no path. Cannot be changed while roles exist, and only together with the credentials for it."
	descEngineClientID      = "Client ID of the machine-to-machine application with which the engine calls Auth0's Management API."
	descEngineSecret        = "Client secret of the machine-to-machine application. Never returned. rotate-root replaces it with one that only Vault knows."
	descPrivateKey          = "RSA private key (PEM, at least 2048 bits) of the machine-to-machine application, if it authenticates by private_key_jwt. Excludes client_secret. Never returned. rotate-root replaces it with one that only Vault knows."
	descSigningAlgorithm    = "Algorithm with which private_key signs: RS256 (default), RS384 or PS256, as registered in Auth0."
	descAuthMethod          = "How the engine authenticates: client_secret_post or private_key_jwt."
	descAudience            = "Audience of the Management API. With a custom domain, the tenant's own: https://<tenant>.auth0.com/api/v2/."
	descCACert              = "PEM bundle of the CAs that may sign the domain's certificate. Empty: those of the system."
	descRequestTimeout      = "How long one request to Auth0 may take."
	descPropagationDelay    = "How long a new secret or key may take to reach all of Auth0. That long after a rotation the previous secret is still served as a fallback; that long a new key is registered before it is used."
	descAllowedApplications = "Which applications can become roles: client IDs, and globs of names in Auth0, with a * (such as shop-*; any case). Default *: all. Empty: none. Roles that exist stay."
	descVerifyConnection    = "Whether a write that concerns the connection first gets a Management API token, and is refused if that fails."
	descScopes              = "Scopes that Auth0 granted when the configuration was last verified."

	descDriftCheckPeriod = "How often each application's secret or keys are compared with what Auth0 has, to notice a change outside Vault: 0 (never) or at least 10s. Needs the scope read:client_keys, for keys read:client_credentials."

	descRoleClientID       = "Client ID of the Auth0 application. Fixed once the role exists; one role per application in a mount."
	descImportSecret       = "The application's present client secret, to import it without rotation. Only when the role is created. Proven by reading it back, or else by a login with it. Never returned by this path."
	descTTL                = "Longest time for which a reader may keep credentials before it reads them again: the lease of creds/, and twice the upper bound of ttl of static-creds/. A staged rotation of a secret waits this long before it takes effect; an exportable key is removed this long after it was replaced. At least 10s, at most what the mount allows."
	descRotationPeriod     = "How often the client secret or key is rotated: 0 (only by rotate/<name>) or at least twice ttl. Counts from the last rotation, or from when the role was made."
	descRootRotationPeriod = "How often the engine's own credential is rotated: 0 (only by rotate-root) or at least 20s."
	descRotationSchedule   = "When to rotate, as a cron expression of five fields in UTC. Excludes rotation_period. Empty: no schedule."
	descRotationWindow     = "How long after its time a scheduled rotation may still take effect; after that it waits for the next time. At least 1h; 0: no limit. Only with rotation_schedule."
	descDisableRotation    = "Pause scheduled rotation: nothing begins or takes effect by itself. rotate/<name> still works."
	descDisableMount       = "Pause scheduled rotation of the whole mount. rotate/<name> still works."

	descCredentialType       = "By what the application authenticates: client_secret, or private_key (private_key_jwt: the engine makes keys and signs with them). Cannot be changed."
	descRoleSigningAlgorithm = "Algorithm with which the role's keys sign: RS256 (default), RS384 or PS256. Only with credential_type=private_key. Cannot be changed."
	descKeyBits              = "Length of the next RSA key: 2048 (default), 3072 or 4096. Only with credential_type=private_key."
	descExportable           = "Whether creds/ and static-creds/ hand out the private key. Otherwise it never leaves Vault, and assertions/ signs with it. Only with credential_type=private_key."

	descSecretSource   = "Who makes the next client secret: vault (it is handed out before it takes effect: no downtime) or auth0 (Auth0's rotate-secret: cannot be handed out before)."
	descPasswordPolicy = "Vault password policy that makes the next secret, with secret_source=vault: of at least 32 characters. Empty: 48 random bytes in URL-safe base64."
	descSkipImport     = "Do not import the application's present secret: rotate at once when the role is created. Everything that still uses the present secret stops working."
	descForce          = "Set the next secret at once, without waiting for the leases of its predecessor. Of keys: use the next one as soon as Auth0 accepts it, and remove the present one. Holders of older leases fail until they read again."

	descCredsTTL            = "Seconds until these credentials should be read again, at least 1."
	descCredsSecret         = "The client secret to try first. Absent with credential_type=private_key."
	descFallback            = "The client secret to try if the first is refused. Empty when there is none. Absent with credential_type=private_key."
	descClientSecrets       = "All client secrets that Auth0 may accept, in the order in which to try them. Absent with credential_type=private_key."
	descCredsKey            = "The private key, in PEM of PKCS #8. Only with credential_type=private_key."
	descCredsAlgorithm      = "Algorithm with which the private key signs. Only with credential_type=private_key."
	descCredsRotationPeriod = "Seconds between rotations; with rotation_schedule, the present interval. 0: the role is rotated by hand only."

	descStaticRotationPeriod = "Seconds between rotations; with rotation_schedule, the present interval. The ttl of a role that is rotated by hand only."

	descPhase             = "steady (one secret), staged (the next secret is handed out but not set in Auth0 yet) or propagating (it is set, and the previous one is still handed out). Of keys: staged (the next one is registered in Auth0, but not used yet) or propagating (it is used, and Auth0 still accepts the previous one)."
	descVersion           = "Number of the current secret or key: 1 for the first one known, one more with each rotation. 0: none yet."
	descStagedAt          = "When the next secret was staged, or the next key registered."
	descReadyAt           = "When the staged secret can be set in Auth0: by then every live lease has it. A staged key is used from then on: by then it has propagated. An attempt that was made before then, with force=true, and had no clear answer is repeated at retry_at."
	descFallbackUntil     = "Until when the previous secret is served, too. Of keys: until when Auth0 accepts the previous one."
	descLastVaultRotation = "When the current secret was set in Auth0, or imported. Of keys: since when the current one is used."
	descNextVaultRotation = "When the next rotation takes effect. Absent when none is planned."
	descLastError         = "Why the last attempt at Auth0 failed. Absent when it did not."
	descFailures          = "How many attempts of the present rotation failed in a row."
	descRetryAt           = "When the next attempt is made."

	descDriftDetection  = "Whether a secret that is changed outside Vault, or a key that is removed, is noticed: on, off (drift_check_period is 0) or unavailable (the engine's grant lacks read:client_keys)."
	descDriftCheckedAt  = "When secret or keys were last compared with what Auth0 has. Absent when it was not since this process began."
	descDriftCheckError = "Why the last comparison could not be made. Absent when it could."
	descDriftDetectedAt = "When the present secret was found in Auth0, set by somebody else. Of keys: when the present one was found to be removed, or disabled. Absent when it is the engine's own."
)

const (
	defaultTTL              = 15 * time.Minute
	defaultRequestTimeout   = 30 * time.Second
	defaultPropagationDelay = 30 * time.Second
	defaultDriftCheckPeriod = 24 * time.Hour
)

// fieldSchemas describe the fields of a request or of an answer.
type fieldSchemas = map[string]*framework.FieldSchema

func stringField(description string) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeString, Description: description}
}

func boolField(description string, byDefault bool) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeBool, Description: description, Default: byDefault}
}

func intField(description string) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeInt, Description: description}
}

func timeField(description string) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeTime, Description: description + " RFC 3339, UTC."}
}

func durationField(description string, byDefault time.Duration) *framework.FieldSchema {
	field := &framework.FieldSchema{Type: framework.TypeDurationSecond, Description: description}
	if byDefault > 0 {
		field.Default = strconv.Itoa(int(byDefault.Seconds())) + "s" // OpenAPI has durations as text
	}
	return field
}

func nameField() *framework.FieldSchema { return stringField(descName) }

// required marks a field that every answer of its kind carries.
func required(field *framework.FieldSchema) *framework.FieldSchema {
	field.Required = true
	return field
}

// answered returns settings as fields of an answer: required, durations in seconds.
func answered(settings fieldSchemas) fieldSchemas {
	fields := fieldSchemas{}
	for name, setting := range settings {
		field := &framework.FieldSchema{Type: setting.Type, Description: setting.Description, Required: true}
		switch setting.Type {
		case framework.TypeDurationSecond:
			field.Type, field.Description = framework.TypeInt, setting.Description+" In seconds."
		case framework.TypeCommaStringSlice:
			field.Type = framework.TypeStringSlice
		case framework.TypeKVPairs:
			field.Type = framework.TypeMap
		case framework.TypeBool:
			field.Default = setting.Default
		}
		fields[name] = field
	}
	return fields
}

// inSeconds is the form of durations in answers.
func inSeconds(d time.Duration) int64 { return int64(d / time.Second) }

// inRFC3339 is the form of times in answers.
func inRFC3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// putTimes adds times to an answer, but no zero ones.
func putTimes(data map[string]any, times map[string]time.Time) {
	for field, at := range times {
		if !at.IsZero() {
			data[field] = inRFC3339(at)
		}
	}
}

// sent returns a field of a request. False: the request does not have it.
func sent[T any](d *framework.FieldData, field string) (value T, ok bool) {
	raw, ok := d.GetOk(field)
	if seconds, isInt := raw.(int); isInt && d.Schema[field].Type == framework.TypeDurationSecond {
		raw = time.Duration(seconds) * time.Second
	}
	if ok {
		value, ok = raw.(T)
	}
	return value, ok
}

// take sets target to a field of a request, if the request has it.
func take[T any](d *framework.FieldData, field string, target *T) (ok bool) {
	value, ok := sent[T](d, field)
	if ok {
		*target = value
	}
	return ok
}

func sensitiveField(description string) *framework.FieldSchema {
	field := stringField(description)
	field.DisplayAttrs = &framework.DisplayAttributes{Sensitive: true}
	return field
}

// merged merges maps.
func merged[V any](sets ...map[string]V) map[string]V {
	all := map[string]V{}
	for _, set := range sets {
		maps.Copy(all, set)
	}
	return all
}

func mapField(description string) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeMap, Description: description}
}

func listField(description string) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeStringSlice, Description: description}
}

// allowedValues are the values that a field may have.
func allowedValues[T any](allowed []T) []any {
	all := make([]any, len(allowed))
	for i, value := range allowed {
		all[i] = value
	}
	return all
}
