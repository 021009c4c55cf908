locals {
  gcs_query = join("&", [for name, value in var.gcs_options : "${name}=${urlencode(value)}"])
  gcs_url   = "gs://${local.bucket}/${var.prefix}${local.gcs_query == "" ? "" : "?"}${local.gcs_query}"
}

resource "google_service_account" "this" {
  project      = var.project_id
  account_id   = var.name
  display_name = "auditsplit"
  description  = "Creates audit events' objects"
}

# The whole of what the code may do: create objects below the prefix. To replace one would take storage.objects.delete.
resource "google_storage_bucket_iam_member" "create" {
  bucket = local.bucket
  role   = "roles/storage.objectCreator"
  member = google_service_account.this.member

  condition {
    title       = "auditsplit"
    description = "Objects below its own prefix"
    expression  = "resource.type == \"storage.googleapis.com/Object\" && resource.name.startsWith(\"projects/_/buckets/${local.bucket}/objects/${var.prefix}/\")"
  }
}

resource "google_secret_manager_secret_iam_member" "elasticsearch" {
  count = var.elasticsearch_url == null ? 0 : 1

  project   = var.project_id
  secret_id = var.elasticsearch_api_key_secret.name
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.this.member
}

resource "google_cloudfunctions2_function" "this" {
  # checkov:skip=CKV_GCP_124: the apiserver comes from elsewhere; ingress narrows it where it doesn't
  project     = var.project_id
  location    = var.region
  name        = var.name
  description = "auditsplit: Kubernetes audit events into every user's own objects"
  labels      = var.labels

  build_config {
    runtime         = "python313"
    entry_point     = "ingest"
    service_account = var.build_service_account

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.source.name
      }
    }
  }

  service_config {
    available_memory                 = var.memory
    available_cpu                    = "1" # more than one request at once needs a whole one
    timeout_seconds                  = var.timeout_s
    max_instance_request_concurrency = var.concurrency
    max_instance_count               = var.max_instances
    min_instance_count               = var.min_instances
    ingress_settings                 = var.ingress
    service_account_email            = google_service_account.this.email
    all_traffic_on_latest_revision   = true

    environment_variables = merge(
      var.environment,
      {
        AUDIT_SINKS  = join(" ", concat([local.gcs_url], var.elasticsearch_url[*]))
        AUDIT_TOKENS = join(" ", var.tokens)
        THREADS      = tostring(var.concurrency)
      },
    )

    dynamic "secret_environment_variables" {
      for_each = var.elasticsearch_api_key_secret[*]

      content {
        key        = "ELASTICSEARCH_API_KEY"
        project_id = var.project_id
        secret     = secret_environment_variables.value.name
        version    = secret_environment_variables.value.version
      }
    }
  }

  depends_on = [
    google_secret_manager_secret_iam_member.elasticsearch,
    google_storage_bucket_iam_member.create,
  ]
}

# A function of the 2nd generation is a Cloud Run service of the same name, which decides who may call it.
resource "google_cloud_run_service_iam_member" "invoker" {
  # checkov:skip=CKV_GCP_102: kube-apiserver has no ID token; the function takes bearer tokens, each bound to a cluster
  for_each = var.invokers

  project  = var.project_id
  location = google_cloudfunctions2_function.this.location
  service  = google_cloudfunctions2_function.this.name
  role     = "roles/run.invoker"
  member   = each.value
}
