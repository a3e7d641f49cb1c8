# An OpenBao that has the engine from its first start on (2.5 or newer): it downloads
# the plugin from its image, registers it, initializes itself, and sets the engine up.
# Put your own addresses, keys, names and hashes in.

plugin_directory     = "/opt/openbao/plugins" # which the server may write to
plugin_auto_download = true
plugin_auto_register = true

plugin "secret" "auth0" {
  image     = "ghcr.io/OWNER/NAME"
  version   = "v0.1.0"
  sha256sum = "0000000000000000000000000000000000000000000000000000000000000000" # of the binary for this machine: in SHA256SUMS
}

storage "raft" {
  path    = "/opt/openbao/data"
  node_id = "one"
}

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/opt/openbao/tls/tls.crt"
  tls_key_file  = "/opt/openbao/tls/tls.key"
}

api_addr     = "https://openbao.example.com:8200"
cluster_addr = "https://openbao.example.com:8201"

audit "file" "file" {
  options {
    file_path = "/opt/openbao/audit/audit.log"
  }
}

# A server that initializes itself must unseal itself. Any seal does.
seal "static" {
  current_key_id = "2026-01"
  current_key    = "file:///opt/openbao/unseal.key" # 32 bytes
}

# OpenBao does all of this once, at the first start. Afterwards there is no root token:
# operators log in by what is set up here.
initialize "operators" {
  request "userpass" {
    operation = "update"
    path      = "sys/auth/userpass"
    data = {
      type = "userpass"
    }
  }
  request "policy" {
    operation = "update"
    path      = "sys/policies/acl/auth0-operator"
    data = {
      policy = <<-EOT
        path "auth0/*" {
          capabilities = ["create", "read", "update", "delete", "list"]
        }
        path "auth0/creds/*" {
          capabilities = ["deny"]
        }
        path "auth0/static-creds/*" {
          capabilities = ["deny"]
        }
      EOT
    }
  }
  request "operator" {
    operation = "update"
    path      = "auth/userpass/users/operator"
    data = {
      token_policies = ["auth0-operator"]
      password = {
        eval_source     = "env"
        eval_type       = "string"
        env_var         = "OPERATOR_PASSWORD"
        require_present = true
      }
    }
  }
}

initialize "auth0" {
  request "mount" {
    operation = "update"
    path      = "sys/mounts/auth0"
    data = {
      type = "auth0"
    }
  }
  request "configure" {
    operation = "update"
    path      = "auth0/config"
    data = {
      domain    = "example.eu.auth0.com"
      client_id = "THE-ENGINES-CLIENT-ID"
      client_secret = {
        eval_source     = "env"
        eval_type       = "string"
        env_var         = "AUTH0_CLIENT_SECRET"
        require_present = true
      }
    }
  }
  # Afterwards only OpenBao knows the engine's own secret: the variable is useless.
  request "rotate-root" {
    operation = "update"
    path      = "auth0/rotate-root"
  }
}
