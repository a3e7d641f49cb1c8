# Vault Agent runs an application with the credentials of the role shop in its
# environment (process supervisor mode), and restarts it when they change.
# Run: vault agent -config=exec.hcl

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
  exit_on_retry_failure = false
}

# All secrets in the order in which to try them, as a JSON list. An application
# that can use two variables takes client_secret and fallback_client_secret.
# Nothing else that changes: each change restarts the application.
env_template "AUTH0_CLIENT_SECRETS" {
  contents             = "{{ with secret \"auth0/creds/shop\" }}{{ .Data.client_secrets | toJSON }}{{ end }}"
  error_on_missing_key = true
}
env_template "AUTH0_CLIENT_ID" {
  contents             = "{{ with secret \"auth0/creds/shop\" }}{{ .Data.client_id }}{{ end }}"
  error_on_missing_key = true
}
env_template "AUTH0_DOMAIN" {
  contents             = "{{ with secret \"auth0/creds/shop\" }}{{ .Data.domain }}{{ end }}"
  error_on_missing_key = true
}

exec {
  # The domain is the application's own, by which it refuses an AUTH0_DOMAIN that is another.
  command                   = ["/usr/local/bin/shop", "--auth0-domain=example.eu.auth0.com"]
  restart_on_secret_changes = "always"
  restart_stop_signal       = "SIGTERM"
}
