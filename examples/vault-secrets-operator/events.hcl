# For instant updates, beside policy.hcl. Vault Enterprise only: OpenBao's policies have
# no subscribe.
path "sys/mounts/auth0" {
  capabilities = ["read"]
}
path "sys/events/subscribe/auth0*" {
  capabilities = ["read"]
}
path "auth0/creds/shop" {
  capabilities          = ["subscribe"]
  subscribe_event_types = ["auth0/*"]
}
path "auth0/roles/shop" {
  capabilities          = ["subscribe"]
  subscribe_event_types = ["auth0/*"]
}
