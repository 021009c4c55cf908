# An endpoint on Google Cloud with a bucket of its own. Fill in terraform.tfvars as docs/deploy/cloud-run.md says, then apply.

terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.0, < 8.0"
    }
  }
}

provider "google" {
  project = var.project_id
  region  = var.region
}

variable "project_id" {
  description = "Project to deploy to."
  type        = string
}

variable "region" {
  description = "Region to deploy to."
  type        = string
  default     = "europe-west1"
}

variable "bucket_name" {
  description = "Name of the bucket for the events; all of Google shares one space of names."
  type        = string
}

variable "tokens" {
  description = "Who may send: `cluster=sha256:<hash>`, as `auditsplit token <cluster>` prints it."
  type        = list(string)
}

variable "package_file" {
  description = "The function's source, made by `make bundle`."
  type        = string
  default     = "../../../dist/auditsplit-functions.zip"
}

module "auditsplit" {
  # Outside of a checkout, name a release's tag: "git::https://git.example.com/auditsplit.git//infra/modules/gcp?ref=v0.1.0"
  source = "../../modules/gcp"

  project_id   = var.project_id
  region       = var.region
  bucket_name  = var.bucket_name
  package_file = var.package_file
  tokens       = var.tokens
}

output "endpoint" {
  description = "URL of the function."
  value       = module.auditsplit.endpoint
}

output "bucket" {
  description = "Name of the bucket."
  value       = module.auditsplit.bucket
}

output "flags_command" {
  description = "What prints kube-apiserver's flags."
  value       = module.auditsplit.flags_command
}

output "kubeconfig_commands" {
  description = "What to run next, by cluster."
  value       = module.auditsplit.kubeconfig_commands
}
