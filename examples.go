package auth0secrets

import (
	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/requirements"
	"vault-plugin-secrets-auth0/internal/rotation"
)

// Examples of answers, for OpenAPI. A test checks each against its schema.

const (
	exampleDomain   = "example.eu.auth0.com"
	exampleAPI      = "https://api.example.com/"
	exampleEngineID = "pYB5Cv8T1Z0eLrKg5mG9ZrQ0eYw3hJxN"
	exampleAppID    = "2p9aXGjtY7mC0EwP4bS8dRkQ6fVh1NzL"
	exampleKeyedID  = "8r4fLKnwC2qG5JaU9dX3hWpV1jZm6SbE" // of an application with keys

	exampleImportedAt = "2026-01-05T09:00:00Z"
	exampleStagedAt   = "2026-02-04T08:44:59Z"
	exampleDueAt      = "2026-02-04T09:00:00Z"
)

var (
	examplePlan = map[string]any{
		fieldRotationPeriod: 2592000, fieldRotationSchedule: "", fieldRotationWindow: 0, fieldDisableRotation: false,
	}
	exampleConfig = merged(examplePlan, map[string]any{
		fieldDomain: exampleDomain, fieldClientID: exampleEngineID, fieldAuthMethod: "client_secret_post",
		fieldAudience: "https://" + exampleDomain + "/api/v2/", fieldCACert: "", fieldRequestTimeout: 30,
		fieldPropagationDelay: 30, fieldDriftCheckPeriod: 86400, fieldVerifyConnection: true,
		fieldAllowedApplications: []string{"*"},
		fieldScopes:              []string{scopeUpdateClientKeys, scopeReadClients, scopeReadClientKeys},
		fieldLastVaultRotation:   exampleImportedAt, fieldNextVaultRotation: exampleDueAt, fieldFailures: 0,
	})
	exampleTimeline = map[string]any{
		fieldPhase: string(rotation.Staged), fieldVersion: 1, fieldStagedAt: exampleStagedAt, fieldReadyAt: exampleDueAt,
		fieldLastVaultRotation: exampleImportedAt, fieldNextVaultRotation: exampleDueAt, fieldFailures: 0,
	}
	exampleRole = merged(examplePlan, exampleTimeline, map[string]any{
		fieldClientID: exampleAppID, fieldTTL: 900, fieldSecretSource: string(rotation.Vault), fieldPasswordPolicy: "",
		fieldCredentialType: string(credentialSecret),
		fieldDriftDetection: string(driftOn), fieldDriftCheckedAt: exampleStagedAt,
	})
	exampleRoleList = map[string]any{
		"keys": []string{"shop"},
		"key_info": map[string]any{"shop": map[string]any{
			fieldClientID: exampleAppID, fieldCredentialType: string(credentialSecret), fieldPhase: string(rotation.Steady), fieldNextVaultRotation: exampleDueAt,
		}},
	}
	exampleCredentials = map[string]any{
		fieldDomain: exampleDomain, fieldClientID: exampleAppID, fieldClientSecret: "...", fieldFallbackClientSecret: "...",
		fieldClientSecrets: []string{"...", "..."}, fieldRotationPeriod: 2592000,
		fieldLastVaultRotation: exampleImportedAt, fieldTTL: 900,
	}
	exampleAssertion = map[string]any{
		fieldClientAssertion: "...", fieldClientAssertionType: assertion.Type, fieldExpiresAt: exampleDueAt,
		fieldDomain: exampleDomain, fieldClientID: exampleKeyedID, fieldKID: "vQ7oWvGmSBAKBQ2jD7Z9ZuqL8mJPiSVPx1nYHqzB3lE",
	}
	exampleStaticCredentials = merged(exampleCredentials, map[string]any{fieldTTL: 450})

	exampleRotateAll = map[string]any{
		fieldTotal: 120, fieldDone: 80, fieldWaiting: 39, fieldFailed: 1, fieldForce: true,
		fieldFailedRoles: map[string]any{"shop": exampleFailure},
		fieldStartedAt:   exampleStagedAt, fieldSecondsLeft: 20,
	}
	exampleFailure = map[string]any{
		fieldLastError: "set secret: no clear answer from Auth0 (502)", fieldFailures: 1, fieldRetryAt: exampleDueAt,
	}
	exampleStatus = map[string]any{
		fieldConfigured: true, fieldRoles: 120, fieldPaused: 0, fieldPhases: map[string]any{string(rotation.Steady): 117, string(rotation.Staged): 2, string(rotation.Propagating): 1},
		fieldDisableRotation: false, fieldOverdue: 1, fieldFailing: map[string]any{"shop": exampleFailure},
		fieldDriftDetection: string(driftOn), fieldDrifted: map[string]any{}, fieldNextVaultRotation: exampleDueAt,
		fieldTokens:       map[string]any{"issued": 27, "handed_out": 3110, "stale": 0, "refused": 2},
		fieldServingSince: exampleImportedAt, fieldTokenExpires: exampleDueAt, fieldRateLimit: 50, fieldRateLimitLeft: 49,
		fieldRateReset: exampleDueAt,
	}
	exampleApplications = map[string]any{
		"keys": []string{exampleAppID, exampleKeyedID},
		"key_info": map[string]any{
			exampleAppID:   map[string]any{"name": "Shop", "app_type": "regular_web", "role": "shop"},
			exampleKeyedID: map[string]any{"name": "Orders", "app_type": requirements.AppTypeNotSet, fieldCredentialType: string(credentialKey)},
		},
		fieldTotal: 4,
	}
	exampleImport = map[string]any{
		fieldImported: map[string]any{"shop": map[string]any{fieldClientID: exampleAppID, "name": "Shop"}},
		fieldSkipped: map[string]any{"3q0bYHktZ8nD1FxQ5cT9eSlR7gWi2OaM": map[string]any{
			"name": "Browser", "reason": "it is public (app_type spa), so it has no client secret to rotate",
		}},
		fieldDryRun: true,
	}
	exampleTokenRole = map[string]any{
		fieldRole: "shop", fieldAudience: exampleAPI, fieldScopes: []string{"read:orders"}, fieldOrganization: "",
		fieldMinTTL: 300, fieldShared: true, fieldMetadata: map[string]any{"region": "eu"},
	}
	exampleToken = map[string]any{
		fieldAccessToken: "...", fieldTokenType: "Bearer", fieldScopes: []string{"read:orders"}, fieldExpiresAt: exampleDueAt,
		fieldExpiresIn: 86400, fieldDomain: exampleDomain, fieldAudience: exampleAPI, fieldMetadata: map[string]any{"region": "eu"},
	}
)
