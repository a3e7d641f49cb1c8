package examples

// What the kinds of the examples may consist of: the part of their schemas that
// is likely to be used, so that a misspelt field is found without a cluster. A
// field that ends in a dot is free below it.
var kindFields = map[string][]string{
	// Vault Secrets Operator 1.x, its CustomResourceDefinitions.
	"secrets.hashicorp.com/v1beta1 VaultConnection": {
		"address", "caCertSecretRef", "headers.", "skipTLSVerify", "timeout", "tlsServerName",
	},
	"secrets.hashicorp.com/v1beta1 VaultAuth": {
		"allowedNamespaces", "appRole.roleId", "appRole.secretRef", "headers.", "kubernetes.audiences", "kubernetes.role",
		"kubernetes.serviceAccount", "kubernetes.tokenExpirationSeconds", "method", "mount", "namespace", "params.", "vaultConnectionRef",
	},
	"secrets.hashicorp.com/v1beta1 VaultDynamicSecret": {
		"allowStaticCreds", "destination.annotations.", "destination.create", "destination.labels.", "destination.name",
		"destination.overwrite", "destination.type", "destination.transformation.excludeRaw", "destination.transformation.excludes",
		"destination.transformation.includes", "destination.transformation.templates.", "destination.transformation.transformationRefs",
		"mount", "namespace", "params.", "path", "refreshAfter", "renewalPercent", "requestHTTPMethod", "revoke",
		"rolloutRestartTargets.kind", "rolloutRestartTargets.name", "vaultAuthRef",
	},
	// External Secrets Operator 1.3, its CustomResourceDefinitions.
	"generators.external-secrets.io/v1alpha1 VaultDynamicSecret": {
		"allowEmptyResponse", "controller", "method", "parameters.", "path", "provider.auth.kubernetes.mountPath", "provider.auth.kubernetes.role",
		"provider.auth.kubernetes.secretRef.", "provider.auth.kubernetes.serviceAccountRef.audiences",
		"provider.auth.kubernetes.serviceAccountRef.name", "provider.auth.kubernetes.serviceAccountRef.namespace",
		"provider.caBundle", "provider.caProvider.", "provider.headers.", "provider.namespace", "provider.path", "provider.server",
		"provider.version", "resultType", "retrySettings.maxRetries", "retrySettings.retryInterval",
	},
	"external-secrets.io/v1 ExternalSecret": {
		"dataFrom.sourceRef.generatorRef.apiVersion", "dataFrom.sourceRef.generatorRef.kind", "dataFrom.sourceRef.generatorRef.name",
		"refreshInterval", "refreshPolicy", "target.creationPolicy", "target.deletionPolicy", "target.immutable", "target.name",
		"target.template.data.", "target.template.engineVersion", "target.template.mergePolicy", "target.template.metadata.", "target.template.type",
	},
	// Secrets Store CSI driver 1.x.
	"secrets-store.csi.x-k8s.io/v1 SecretProviderClass": {"provider", "parameters.", "secretObjects."},
	// Kubernetes.
	"apps/v1 Deployment": {
		"replicas", "selector.matchLabels.", "template.metadata.annotations.", "template.metadata.labels.",
		"template.spec.automountServiceAccountToken", "template.spec.containers.args", "template.spec.containers.env.name",
		"template.spec.containers.env.value", "template.spec.containers.env.valueFrom.secretKeyRef.key",
		"template.spec.containers.env.valueFrom.secretKeyRef.name", "template.spec.containers.image", "template.spec.containers.name",
		"template.spec.containers.securityContext.allowPrivilegeEscalation", "template.spec.containers.securityContext.capabilities.drop",
		"template.spec.containers.securityContext.readOnlyRootFilesystem", "template.spec.containers.securityContext.runAsNonRoot",
		"template.spec.containers.securityContext.seccompProfile.type", "template.spec.containers.volumeMounts.mountPath", "template.spec.containers.volumeMounts.name",
		"template.spec.containers.volumeMounts.readOnly", "template.spec.securityContext.fsGroup", "template.spec.serviceAccountName", "template.spec.volumes.csi.driver",
		"template.spec.volumes.csi.readOnly", "template.spec.volumes.secret.defaultMode", "template.spec.volumes.secret.secretName", "template.spec.volumes.csi.volumeAttributes.", "template.spec.volumes.name",
		"template.spec.volumes.projected.sources.serviceAccountToken.audience",
		"template.spec.volumes.projected.sources.serviceAccountToken.expirationSeconds",
		"template.spec.volumes.projected.sources.serviceAccountToken.path",
	},
}

// injectorAnnotations are those of the Vault Agent Injector, 1.x; one that ends in
// a dash is followed by the name of a file.
var injectorAnnotations = []string{
	"agent-inject", "agent-inject-containers", "agent-inject-secret-", "agent-inject-template-", "agent-inject-perms-", "agent-inject-command-",
	"agent-inject-file-", "agent-run-as-same-user", "agent-service-account-token-volume-name",
	"agent-pre-populate", "agent-pre-populate-only", "agent-init-first", "role", "auth-path", "namespace",
	"template-config-exit-on-retry-failure", "template-static-secret-render-interval", "secret-volume-path",
}

// csiParameters and csiObject are those of the Vault provider for the Secrets
// Store CSI driver, 1.x.
var (
	csiParameters = []string{"vaultAddress", "roleName", "objects", "vaultNamespace", "vaultCACertPath", "vaultKubernetesMountPath", "audience"}
	csiObject     = []string{"objectName", "secretPath", "secretKey", "filePermission", "method", "encoding"}
)
