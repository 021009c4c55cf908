locals {
  bucket = var.create_bucket ? google_storage_bucket.this[0].name : var.bucket_name
}

resource "google_storage_bucket" "this" {
  # checkov:skip=CKV_GCP_62: access logs of an audit log are Cloud Audit Logs' business, chosen for the project as a whole
  count = var.create_bucket ? 1 : 0

  project                     = var.project_id
  name                        = var.bucket_name
  location                    = var.region
  storage_class               = "STANDARD" # objects are small, and the cheaper classes bill reads and a least stay
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.force_destroy
  labels                      = var.labels

  # Versions keep deleted objects. Google's soft delete would keep them, and bill them, for 7 days more.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  versioning {
    enabled = true
  }

  dynamic "encryption" {
    for_each = var.kms_key_name[*]

    content {
      default_kms_key_name = encryption.value
    }
  }

  dynamic "lifecycle_rule" {
    for_each = var.retention_days[*]

    content {
      action {
        type = "Delete"
      }

      condition {
        age        = lifecycle_rule.value
        with_state = "LIVE"
      }
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      days_since_noncurrent_time = var.noncurrent_retention_days
      with_state                 = "ARCHIVED"
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }

    condition {
      age = 1
    }
  }
}

# The source has a bucket of its own: who may read the one need not read the other.
resource "google_storage_bucket" "source" {
  # checkov:skip=CKV_GCP_62: it holds the source alone
  project                     = var.project_id
  name                        = "${var.bucket_name}-source"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true # what lies in it comes from `make bundle`
  labels                      = var.labels

  soft_delete_policy {
    retention_duration_seconds = 0
  }

  versioning {
    enabled = true
  }

  # A new zip replaces the old one, which becomes noncurrent.
  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      days_since_noncurrent_time = var.noncurrent_retention_days
      with_state                 = "ARCHIVED"
    }
  }

  dynamic "encryption" {
    for_each = var.kms_key_name[*]

    content {
      default_kms_key_name = encryption.value
    }
  }
}

resource "google_storage_bucket_object" "source" {
  bucket       = google_storage_bucket.source.name
  name         = "auditsplit-${filesha256(var.package_file)}.zip" # another source is another object, which starts a build
  source       = var.package_file
  content_type = "application/zip"
}
