output "endpoint" {
  description = "URL of the function. The apiserver posts to `<endpoint>/clusters/<cluster>`."
  value       = google_cloudfunctions2_function.this.service_config[0].uri
}

output "kubeconfig_commands" {
  description = "What to run next, by cluster: takes the token on standard input and writes the kubeconfig for kube-apiserver."
  value = {
    for cluster in distinct([for token in var.tokens : split("=", token)[0]]) :
    cluster => "auditsplit kubeconfig ${cluster} --server ${google_cloudfunctions2_function.this.service_config[0].uri} --token-from -"
  }
}

output "flags_command" {
  description = "What prints kube-apiserver's flags, sized for this platform. Put in one apiserver's events a second."
  value       = "auditsplit flags --platform cloud-run --rate 200"
}

output "bucket" {
  description = "Name of the bucket."
  value       = local.bucket
}

output "location" {
  description = "Where the objects are, for BigQuery and DuckDB: `gs://bucket/prefix/`."
  value       = "gs://${local.bucket}/${var.prefix}/"
}

output "function_name" {
  description = "Name of the function, and of the Cloud Run service behind it."
  value       = google_cloudfunctions2_function.this.name
}

output "service_account_email" {
  description = "Email of the function's service account."
  value       = google_service_account.this.email
}

output "alert_names" {
  description = "Display names of the alerts."
  value       = sort(concat([for alert in google_monitoring_alert_policy.this : alert.display_name], [google_monitoring_alert_policy.refused.display_name], google_monitoring_alert_policy.silence[*].display_name, google_monitoring_alert_policy.compact[*].display_name))
}

output "metric_types" {
  description = "Log-based metrics, by the names that Cloud Monitoring has for them."
  value       = [for metric in concat([google_logging_metric.requests], values(google_logging_metric.figures)) : "logging.googleapis.com/user/${metric.name}"]
}

output "compact_function_name" {
  description = "Name of the function that compacts. null without compact."
  value       = one(google_cloudfunctions2_function.compact[*].name)
}
