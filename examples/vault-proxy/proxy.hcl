# Vault Proxy logs in at Vault for an application that reads its tokens by itself, and so
# needs no token for Vault: VAULT_ADDR=unix:///run/shop/vault.sock. It keeps no tokens of
# auth0/ (their leases cannot be renewed). Run: vault proxy -config=proxy.hcl

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

api_proxy {
  use_auto_auth_token = "force" # whatever token a request brings along
}

# Who may connect may read what the AppRole may: only shop, as which the application runs.
# The three settings have an effect only together.
listener "unix" {
  address      = "/run/shop/vault.sock"
  socket_mode  = "0600"
  socket_user  = "shop"
  socket_group = "shop"
  tls_disable  = true
}
