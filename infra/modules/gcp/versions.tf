terraform {
  required_version = ">= 1.9" # validations that look at a second variable

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.0, < 8.0"
    }
  }
}
