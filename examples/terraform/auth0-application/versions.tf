terraform {
  required_version = ">= 1.11.0" # write-only arguments

  required_providers {
    auth0 = {
      source  = "auth0/auth0"
      version = "~> 1.52" # client_secret_wo
    }
  }
}
