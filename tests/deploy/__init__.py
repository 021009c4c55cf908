"""Tests of the deployment: they need Terraform, and `make infra` runs them."""
