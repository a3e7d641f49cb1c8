# What the operator asks for: the credentials, and, when the resource is deleted, that
# their lease be revoked. (Of static-creds there is none.)
path "auth0/static-creds/shop" {
  capabilities = ["read"]
}
path "sys/leases/revoke" {
  capabilities = ["update"]
}
