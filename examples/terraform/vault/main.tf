# The mount, the engine's configuration, and roles. Needs VAULT_ADDR, VAULT_TOKEN
# and the plugin in Vault's catalog, as auth0.
#
# First:  TF_VAR_auth0_client_secret=... terraform apply
# then:   terraform apply, which takes the secret out of the state. It is dead by
#         then: rotate_root has replaced it, and only Vault knows the new one.

terraform {
  required_version = ">= 1.3"
  required_providers {
    vault = {
      source  = "hashicorp/vault"
      version = ">= 1.9, < 6.0"
    }
  }
}

provider "vault" {}

resource "vault_mount" "auth0" {
  path = var.mount
  type = "auth0" # its name in the catalog
}

resource "vault_generic_endpoint" "config" {
  path                 = "${vault_mount.auth0.path}/config"
  ignore_absent_fields = true # client_secret is never read back

  # What is not sent stays as it is.
  data_json = jsonencode({ for field, value in {
    domain          = var.auth0_domain
    client_id       = var.auth0_client_id
    client_secret   = var.auth0_client_secret
    ca_cert         = var.auth0_ca_cert == null ? null : trimspace(var.auth0_ca_cert)
    rotation_period = 30 * 24 * 3600 # of the engine's own secret
  } : field => value if value != null })
}

resource "vault_generic_endpoint" "rotate_root" {
  path           = "${vault_mount.auth0.path}/rotate-root"
  data_json      = "{}"
  disable_read   = true # only to be written
  disable_delete = true
  depends_on     = [vault_generic_endpoint.config]
}

resource "vault_generic_endpoint" "role" {
  for_each = var.roles

  path                 = "${vault_mount.auth0.path}/roles/${each.key}"
  ignore_absent_fields = true # of the role's timeline

  # Times are numbers, of seconds, as they are read back: "15m" would be a change
  # in every plan. What is not sent has its default; a role of client secrets is not
  # sent what is for keys.
  data_json  = jsonencode({ for field, value in each.value : field => value if value != null })
  depends_on = [vault_generic_endpoint.config]
}
