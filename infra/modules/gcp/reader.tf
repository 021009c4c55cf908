# Who reads events back, with `auditsplit find`, BigQuery or DuckDB, needs other permissions than the function.
locals {
  # Google asks for a list with the bucket's name and the prefix of the list, and for the rest with the object's name.
  below_the_prefix = "resource.name.startsWith(\"projects/_/buckets/${local.bucket}/objects/${var.prefix}/\") || api.getAttribute(\"storage.googleapis.com/objectListPrefix\", \"\").startsWith(\"${var.prefix}/\")"
}

# roles/storage.objectViewer would also read managed folders and IAM policies of objects.
resource "google_project_iam_custom_role" "reader" {
  count = length(var.readers) > 0 ? 1 : 0

  project     = var.project_id
  role_id     = "${replace(var.name, "-", "_")}_reader"
  title       = "${var.name}: reader"
  description = "Lists and gets audit events' objects"
  permissions = ["storage.objects.get", "storage.objects.list"]
}

resource "google_storage_bucket_iam_member" "reader" {
  for_each = var.readers

  bucket = local.bucket
  role   = google_project_iam_custom_role.reader[0].name
  member = each.value

  condition {
    title       = "auditsplit-reader"
    description = "Objects below its own prefix"
    expression  = local.below_the_prefix
  }
}
