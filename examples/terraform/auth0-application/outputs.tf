output "vault_config" {
  description = "What auth0/config takes, but for the secret or private key."
  value = {
    domain    = var.domain
    client_id = auth0_client.engine.client_id
  }
}

output "scopes" {
  description = "What the application may do with the Management API."
  value       = local.scopes
}
