# An endpoint on AWS with a bucket of its own. Fill in terraform.tfvars as docs/deploy/lambda.md says, then apply.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region
}

variable "region" {
  description = "Region to deploy to."
  type        = string
  default     = "eu-central-1"
}

variable "tokens" {
  description = "Who may send: `cluster=sha256:<hash>`, as `auditsplit token <cluster>` prints it."
  type        = list(string)
  default     = []
}

variable "log_groups" {
  description = "Log groups of EKS clusters: `/aws/eks/<cluster>/cluster`."
  type        = list(string)
  default     = []
}

variable "package_file" {
  description = "The function's zip, made by `make bundle`."
  type        = string
  default     = "../../../dist/auditsplit-lambda-arm64.zip"
}

variable "architecture" {
  description = "Processor that the zip is built for."
  type        = string
  default     = "arm64"
}

module "auditsplit" {
  # Outside of a checkout, name a release's tag: "git::https://git.example.com/auditsplit.git//infra/modules/aws?ref=v0.1.0"
  source = "../../modules/aws"

  package_file = var.package_file
  architecture = var.architecture
  tokens       = var.tokens
  log_groups   = var.log_groups
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
