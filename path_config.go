package auth0secrets

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/assertion"
)

const (
	pathConfigSynopsis    = "Configure how the engine reaches the Auth0 tenant."
	pathConfigDescription = `
Holds the domain of the tenant and the credentials of a machine-to-machine
application that may use its Management API. The application needs the scope
update:client_keys; with read:clients the engine can check applications that
become roles, and with read:client_keys it can import their present secrets.

The application authenticates by a client secret, or by private_key_jwt with a
private key whose public half is registered with it.

An update changes only what is sent. Neither secret nor key is ever returned.`
)

func (b *backend) pathConfig() []*framework.Path {
	write := writes(b.configWrite, "Configure the Auth0 tenant.", noContent(), framework.RequestExample{
		Description: "Configure the tenant with a machine-to-machine application.",
		Data:        map[string]any{fieldDomain: exampleDomain, fieldClientID: exampleEngineID, fieldClientSecret: "..."},
	})
	patch := writes(b.configWrite, "Change the configuration that exists. Only what is sent changes.", noContent(), framework.RequestExample{
		Description: "Rotate the engine's own secret every 30 days.",
		Data:        map[string]any{fieldRotationPeriod: "720h"},
	})
	return []*framework.Path{{
		Pattern:      storageConfig + "$",
		DisplayAttrs: named("configuration"),
		Fields: merged(configSettingFields(), fieldSchemas{
			fieldClientSecret:     sensitiveField(descEngineSecret),
			fieldPrivateKey:       sensitiveField(descPrivateKey),
			fieldSigningAlgorithm: {Type: framework.TypeString, Description: descSigningAlgorithm, AllowedValues: allowedValues(assertion.Algorithms)},
		}),
		ExistenceCheck: exists(storageConfig),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.CreateOperation: write,
			logical.UpdateOperation: write,
			logical.PatchOperation:  patch,
			logical.ReadOperation:   reads(b.configRead, "Read the configuration, without secrets.", answersWith(configAnswerFields(), exampleConfig)),
			logical.DeleteOperation: deletes(b.configDelete, "Delete the configuration. Refused while roles exist."),
		},
		HelpSynopsis:    pathConfigSynopsis,
		HelpDescription: strings.TrimSpace(pathConfigDescription),
	}}
}

// How an application authenticates, in Auth0's words.
const (
	authMethodSecret = "client_secret_post"
	authMethodKey    = "private_key_jwt"
)

// configSettingFields are the settings that a read shows.
func configSettingFields() fieldSchemas {
	return merged(planFields(descRootRotationPeriod, descDisableMount), fieldSchemas{
		fieldDomain:           stringField(descDomain),
		fieldClientID:         stringField(descEngineClientID),
		fieldAudience:         stringField(descAudience),
		fieldCACert:           stringField(descCACert),
		fieldRequestTimeout:   durationField(descRequestTimeout, defaultRequestTimeout),
		fieldPropagationDelay: durationField(descPropagationDelay, defaultPropagationDelay),
		fieldDriftCheckPeriod: durationField(descDriftCheckPeriod, defaultDriftCheckPeriod),
		fieldVerifyConnection: boolField(descVerifyConnection, true),

		fieldAllowedApplications: {Type: framework.TypeCommaStringSlice, Description: descAllowedApplications, Default: []string{"*"}},
	})
}

func configAnswerFields() fieldSchemas {
	return merged(rootTimelineFields(), answered(configSettingFields()), fieldSchemas{
		fieldAuthMethod:       required(stringField(descAuthMethod)),
		fieldSigningAlgorithm: stringField(descSigningAlgorithm),
		fieldScopes:           required(listField(descScopes)),
	})
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
	data := merged(b.rootTimeline(config), config.answer(), map[string]any{
		fieldDomain:           config.Domain,
		fieldClientID:         config.ClientID,
		fieldAuthMethod:       authMethodSecret,
		fieldAudience:         config.audience(),
		fieldCACert:           config.CACert,
		fieldRequestTimeout:   inSeconds(config.RequestTimeout),
		fieldPropagationDelay: inSeconds(config.PropagationDelay),
		fieldDriftCheckPeriod: inSeconds(config.DriftCheckPeriod),
		fieldVerifyConnection: config.VerifyConnection,
		fieldScopes:           scopes,

		fieldAllowedApplications: config.allowedApplications(),
	})
	if config.SigningAlgorithm != "" {
		data[fieldAuthMethod], data[fieldSigningAlgorithm] = authMethodKey, config.SigningAlgorithm
	}
	return &logical.Response{Data: data}, nil
}

// configWrite creates the configuration, or changes it. A patch only changes it.
func (b *backend) configWrite(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	unlock, err := b.lockConfig(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()

	stored, err := readConfig(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	if stored == nil && req.Operation == logical.PatchOperation {
		return nil, errNotConfigured
	}
	config, err := updatedConfig(stored, d, b.now())
	if err != nil {
		return nil, err
	}
	if err := b.configFitsRoles(ctx, req.Storage, stored, config); err != nil {
		return nil, err // before Auth0 is asked: credentials are not sent to a domain that is refused
	}
	if err := credentialsFitConnection(stored, config, d); err != nil {
		return nil, err
	}
	var warnings []string
	if stored == nil || concernsConnection(req.Data) {
		if warnings, err = b.verifyConfig(ctx, config); err != nil {
			return nil, err
		}
	}

	if stored != nil && stored.Rotation.Unsettled() && !config.Rotation.Holds(stored.Rotation.Next()) {
		warnings = append(warnings, "an attempt to rotate the engine's earlier credential had no clear answer, and its outcome is forgotten now: "+
			"application "+stored.ClientID+" may have a secret that nobody knows")
	}
	more, err := b.delayWarnings(ctx, req.Storage, stored, d)
	if err != nil {
		return nil, err
	}
	warnings = append(warnings, more...)
	if err := b.commitConfig(ctx, req.Storage, stored, config); err != nil {
		return nil, err
	}
	b.event(ctx, eventConfigWrite, storageConfig, logical.EventMetadataModified, "true")
	return onlyWarnings(warnings, nil)
}

func (b *backend) configDelete(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	unlock, err := b.lockConfig(ctx)
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
		return nil, badRequest("the configuration cannot be deleted while roles exist (%d): delete them first", len(roles))
	}
	config, unreadable := readConfig(ctx, req.Storage) // what cannot be read can be deleted
	err = req.Storage.Delete(ctx, storageConfig)
	b.disconnect() // a deletion that failed may have taken effect
	b.tokens.drop(everyToken)
	if err != nil {
		return nil, err
	}
	b.event(ctx, eventConfigDelete, storageConfig, logical.EventMetadataModified, "true")
	var warnings []string
	if unreadable == nil && config != nil && (config.Rotation.Version() > 1 || config.Rotation.Unsettled()) {
		warnings = append(warnings, "only Vault knew the credential of application "+config.ClientID+
			", since "+pathRotateRootName+" had replaced it: set a new one in Auth0's dashboard before you configure the engine again")
	}
	return onlyWarnings(warnings, nil)
}
