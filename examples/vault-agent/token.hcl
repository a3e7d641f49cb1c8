# Vault Agent keeps an access token of the token role orders in a file: it writes the next
# one when 85 to 95 % of the time is over. Run: vault agent -config=token.hcl

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

# For the Agent's own user alone, as which the application runs, too: whoever reads the
# file has the token. It is replaced by a rename. The application reads it anew for each
# request, refuses a domain and an audience that are not its own, and a token that has
# expired (expires_at is null if Auth0 did not say when it does).
template {
  destination          = "/run/shop/token.json"
  perms                = "0600"
  error_on_missing_key = true
  contents             = <<-EOT
    {{- with secret "auth0/tokens/orders" }}{{ with .Data -}}
    {
      "access_token": {{ .access_token | toJSON }},
      "expires_at": {{ index . "expires_at" | toJSON }},
      "audience": {{ .audience | toJSON }},
      "domain": {{ .domain | toJSON }}
    }
    {{ end }}{{ end -}}
    EOT
}
