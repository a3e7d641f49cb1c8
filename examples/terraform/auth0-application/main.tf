# The machine-to-machine application with which the Vault secrets engine calls
# Auth0, with the least scopes for what is wanted of it.
#
# The provider is configured by AUTH0_DOMAIN and AUTH0_API_TOKEN (or
# AUTH0_CLIENT_ID and AUTH0_CLIENT_SECRET) in the environment.

locals {
  by_key = var.public_key != null
  keys   = local.by_key || var.rotate_keys

  # Which scope enables what is in docs/auth0.md.
  scopes = concat(
    ["update:client_keys", "read:clients"],
    var.read_secrets ? ["read:client_keys"] : [],
    local.keys ? [
      "read:client_credentials",
      "create:client_credentials",
      "update:client_credentials",
      "delete:client_credentials",
    ] : [],
  )
}

resource "auth0_client" "engine" {
  name            = var.name
  description     = "HashiCorp Vault rotates client secrets and keys with it"
  app_type        = "non_interactive"
  grant_types     = ["client_credentials"]
  oidc_conformant = true

  jwt_configuration {
    alg = "RS256"
  }
}

# One of these two. Later Vault replaces the secret or key, and Terraform does not put
# the earlier one back. If Terraform's own token may read the secret, Terraform writes it
# into the state: give that token neither read:client_keys nor read:client_credentials.

resource "auth0_client_credentials" "secret" {
  count = local.by_key ? 0 : 1

  client_id                = auth0_client.engine.id
  authentication_method    = "client_secret_post"
  client_secret_wo         = var.client_secret
  client_secret_wo_version = var.client_secret_version
}

resource "auth0_client_credentials" "key" {
  count = local.by_key ? 1 : 0

  client_id             = auth0_client.engine.id
  authentication_method = "private_key_jwt"

  private_key_jwt {
    credentials {
      name            = "first"
      credential_type = "public_key"
      algorithm       = "RS256"
      pem             = var.public_key
    }
  }

  lifecycle {
    ignore_changes = [private_key_jwt]
  }
}

resource "auth0_client_grant" "management_api" {
  client_id = auth0_client.engine.id
  audience  = "https://${var.domain}/api/v2/"
  scopes    = local.scopes
}
