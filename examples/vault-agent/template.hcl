# Vault Agent writes the credentials of the role shop into a file, and again
# whenever they change. Run: vault agent -config=template.hcl

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

# Without ttl and the times, so that the file changes only when the secrets do.
# The Agent replaces it by a rename: a reader sees the old one or the new one.
# The application refuses a domain that is not the one in its own configuration.
template {
  destination          = "/run/shop/auth0.json"
  perms                = "0640"
  error_on_missing_key = true
  contents             = <<-EOT
    {{- with secret "auth0/creds/shop" }}{{ with .Data -}}
    {
      "domain": {{ .domain | toJSON }},
      "client_id": {{ .client_id | toJSON }},
      "client_secrets": {{ .client_secrets | toJSON }}
    }
    {{ end }}{{ end -}}
    EOT

  # Runs when the file has changed, for an application that does not look at it by
  # itself.
  exec {
    command = ["sh", "-c", "test ! -e /run/shop/shop.pid || kill -HUP \"$(cat /run/shop/shop.pid)\""]
    timeout = "10s"
  }
}
