variable "name" {
  description = "Name of the application in Auth0."
  type        = string
  default     = "vault-plugin-secrets-auth0"
}

variable "domain" {
  description = "Domain of the tenant, such as example.eu.auth0.com: its own, not a custom one."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9.-]+(:[0-9]+)?$", var.domain))
    error_message = "The domain is a host, without scheme and path."
  }
}

variable "read_secrets" {
  description = "Whether the engine may read client secrets: to import present ones by itself, and to notice those that others change."
  type        = bool
  default     = true

  validation {
    condition     = var.read_secrets || var.public_key == null && !var.rotate_keys
    error_message = "With public_key or rotate_keys the engine needs read:client_credentials, which lets client secrets be read, too."
  }
}

variable "rotate_keys" {
  description = "Whether the engine may rotate keys of applications: for roles with credential_type=private_key."
  type        = bool
  default     = false
}

variable "client_secret" {
  description = "First secret of the application, at least 48 random characters, for the apply that creates the application. It is sent to Auth0, and is neither in the state nor in a plan. Vault replaces it; later applies need none, unless they raise client_secret_version."
  type        = string
  sensitive   = true
  ephemeral   = true
  default     = null

  validation {
    # Not demanded: no condition can tell the first apply from later ones.
    condition     = var.client_secret == null || try(length(var.client_secret) >= 48, false)
    error_message = "The client_secret has at least 48 characters."
  }
}

variable "client_secret_version" {
  description = "Raise it to have client_secret sent again. Never by itself: Vault has replaced it since."
  type        = number
  default     = 1
}

variable "public_key" {
  description = "PEM of an RSA public key, for an application that authenticates by private_key_jwt instead of a client secret. The engine may rotate its key then."
  type        = string
  default     = null
}
