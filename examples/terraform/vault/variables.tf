variable "mount" {
  type    = string
  default = "auth0"
}

variable "auth0_domain" {
  type        = string
  description = "The tenant's domain, such as example.eu.auth0.com."
}

variable "auth0_client_id" {
  type        = string
  description = "Client ID of the machine-to-machine application that the engine uses."
}

variable "auth0_client_secret" {
  type        = string
  default     = null
  sensitive   = true
  description = "Its client secret, for the first apply only."
}

variable "auth0_ca_cert" {
  type        = string
  default     = null
  description = "PEM of a CA to trust, where Auth0 is behind a proxy that has one of its own."
}

variable "roles" {
  type = map(object({
    client_id       = string
    ttl             = optional(number, 900)
    rotation_period = optional(number, 30 * 24 * 3600)

    credential_type   = optional(string) # "private_key" for an application of private_key_jwt
    signing_algorithm = optional(string) # these three with it alone
    key_bits          = optional(number)
    exportable        = optional(bool)
  }))
  description = "Roles by name, each for one Auth0 application. Times in seconds."
}
