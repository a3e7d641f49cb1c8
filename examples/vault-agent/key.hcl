# Vault Agent writes the private key of the exportable role shop into a file, and the next
# one before Auth0 stops accepting it. Run: vault agent -config=key.hcl

vault {
  address = "http://127.0.0.1:8200"
}

auto_auth {
  method "approle" {
    config = {
      role_id_file_path                   = "/etc/shop/role-id"
      secret_id_file_path                 = "/etc/shop/secret-id"
      remove_secret_id_file_after_reading = false
    }
  }
}

template_config {
  exit_on_retry_failure = false # keep trying while Vault is down; the file stays
}

# Who reads the file can log in as the application. It is replaced by a rename; the
# application reads it anew for each login, and refuses a domain that is not its own.
template {
  destination          = "/run/shop/auth0.json"
  perms                = "0640"
  error_on_missing_key = true
  contents             = <<-EOT
    {{- with secret "auth0/creds/shop" }}{{ with .Data -}}
    {
      "domain": {{ .domain | toJSON }},
      "client_id": {{ .client_id | toJSON }},
      "private_key": {{ .private_key | toJSON }},
      "kid": {{ .kid | toJSON }},
      "signing_algorithm": {{ .signing_algorithm | toJSON }}
    }
    {{ end }}{{ end -}}
    EOT
}
