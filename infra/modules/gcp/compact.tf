# The compaction as a function of its own, started by Cloud Scheduler. Its service account may list, get, create and
# delete below the prefix. The function that receives events keeps its account, which may only create.
locals {
  compact_count = var.compact == null ? 0 : 1
  compact_name  = "${var.name}-compact"
}

resource "google_service_account" "compact" {
  count = local.compact_count

  project      = var.project_id
  account_id   = local.compact_name
  display_name = "auditsplit's compaction"
  description  = "Joins audit events' objects, and starts the function that does"
}

resource "google_project_iam_custom_role" "compact" {
  count = local.compact_count

  project     = var.project_id
  role_id     = "${replace(var.name, "-", "_")}_compact"
  title       = "${var.name}: compaction"
  description = "Joins audit events' objects"
  permissions = ["storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list"]
}

resource "google_storage_bucket_iam_member" "compact" {
  count = local.compact_count

  bucket = local.bucket
  role   = google_project_iam_custom_role.compact[0].name
  member = google_service_account.compact[0].member

  condition {
    title       = "auditsplit-compact"
    description = "Objects below its own prefix"
    expression  = local.below_the_prefix
  }
}

# Whether the bucket locks its objects is a property of the bucket, which has no prefix.
resource "google_project_iam_custom_role" "compact_bucket" {
  count = local.compact_count

  project     = var.project_id
  role_id     = "${replace(var.name, "-", "_")}_compact_bucket"
  title       = "${var.name}: compaction, the bucket"
  description = "Sees whether a bucket locks its objects"
  permissions = ["storage.buckets.get"]
}

resource "google_storage_bucket_iam_member" "compact_bucket" {
  count = local.compact_count

  bucket = local.bucket
  role   = google_project_iam_custom_role.compact_bucket[0].name
  member = google_service_account.compact[0].member
}

resource "google_cloudfunctions2_function" "compact" {
  # checkov:skip=CKV_GCP_124: only the schedule's account may invoke it
  count = local.compact_count

  project     = var.project_id
  location    = var.region
  name        = local.compact_name
  description = "auditsplit: joins the small objects of each place and hour"
  labels      = var.labels

  build_config {
    runtime               = "python313"
    entry_point           = "compact"
    service_account       = var.build_service_account
    environment_variables = { GOOGLE_FUNCTION_SOURCE = "compaction.py" }

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.source.name
      }
    }
  }

  service_config {
    available_memory                 = var.compact.memory
    available_cpu                    = "1"
    timeout_seconds                  = 1800 # Cloud Scheduler waits no longer
    max_instance_request_concurrency = 1
    max_instance_count               = 1
    min_instance_count               = 0
    ingress_settings                 = "ALLOW_ALL"
    service_account_email            = google_service_account.compact[0].email
    all_traffic_on_latest_revision   = true
    environment_variables            = { AUDIT_SINKS = local.gcs_url, THREADS = "1" }
  }

  depends_on = [
    google_storage_bucket_iam_member.compact,
    google_storage_bucket_iam_member.compact_bucket,
  ]
}

resource "google_cloud_run_service_iam_member" "compact" {
  count = local.compact_count

  project  = var.project_id
  location = google_cloudfunctions2_function.compact[0].location
  service  = google_cloudfunctions2_function.compact[0].name
  role     = "roles/run.invoker"
  member   = google_service_account.compact[0].member
}

resource "google_cloud_scheduler_job" "compact" {
  count = local.compact_count

  project          = var.project_id
  region           = var.region
  name             = local.compact_name
  description      = "Starts auditsplit's compaction"
  schedule         = var.compact.schedule
  time_zone        = "Etc/UTC"
  attempt_deadline = "1800s"

  # The next run does again what a failed one left.
  retry_config {
    retry_count = 0
  }

  http_target {
    uri         = google_cloudfunctions2_function.compact[0].service_config[0].uri
    http_method = "POST"
    headers     = { "Content-Type" = "application/json" }

    body = base64encode(jsonencode({
      older_than_s = var.compact.older_than_hours * 3600
      max_bytes    = var.compact.max_bytes
      time_s       = 1680 # of 1,800 s, so that the hours in work end before the function does
    }))

    oidc_token {
      service_account_email = google_service_account.compact[0].email
      audience              = google_cloudfunctions2_function.compact[0].service_config[0].uri
    }
  }

  depends_on = [google_cloud_run_service_iam_member.compact]
}

resource "google_monitoring_alert_policy" "compact" {
  count = local.compact_count

  project               = var.project_id
  display_name          = "${var.name}: compact"
  combiner              = "OR"
  notification_channels = var.notification_channels
  user_labels           = var.labels

  conditions {
    display_name = "compact"

    condition_matched_log {
      filter = "severity>=ERROR AND ((resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${local.compact_name}\" AND resource.labels.location=\"${var.region}\") OR (resource.type=\"cloud_scheduler_job\" AND resource.labels.job_id=\"${local.compact_name}\" AND resource.labels.location=\"${var.region}\"))"
    }
  }

  alert_strategy {
    auto_close = "1800s"

    notification_rate_limit {
      period = "300s"
    }
  }

  documentation {
    content   = "A run of auditsplit's compaction failed, or left hours as they are. No event is lost. The log of ${local.compact_name} has the reason. The next run does the rest."
    mime_type = "text/markdown"
  }
}
