locals {
  # Cloud Logging moves severity and time out of the function's JSON lines. logger and message stay in jsonPayload.
  own_log = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${google_cloudfunctions2_function.this.name}\" AND resource.labels.location=\"${var.region}\""

  alerts = {
    failures = {
      filter  = "${local.own_log} AND severity>=ERROR"
      content = "auditsplit could not store a batch and answered 503 or 500, or the platform ended it. The log has the reason. The apiserver retries for some minutes and then drops the batch."
    }
    rejected = {
      filter  = "${local.own_log} AND jsonPayload.code=(\"rejected\" OR \"undecodable\" OR \"body-too-large\")"
      content = "auditsplit received malformed items, a malformed body or a body that is too large. The log says where they are, below ${var.prefix}/_rejected/. A body that is too large is not kept."
    }
    throttles = {
      filter  = "${local.own_log} AND httpRequest.status=429"
      content = "Google refused requests because no instance was free. Raise max_instances or concurrency. The apiserver tries a batch five times and then drops it."
    }
  }
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.alerts

  project               = var.project_id
  display_name          = "${var.name}: ${each.key}"
  combiner              = "OR"
  notification_channels = var.notification_channels
  user_labels           = var.labels

  conditions {
    display_name = each.key

    condition_matched_log {
      filter = each.value.filter
    }
  }

  alert_strategy {
    auto_close = "1800s"

    notification_rate_limit {
      period = "300s"
    }
  }

  documentation {
    content   = each.value.content
    mime_type = "text/markdown"
  }
}

# Cloud Run's own metric, so that no alert waits for a metric of the log. It has the answers of Google's own check too.
locals {
  answers = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${google_cloudfunctions2_function.this.name}\" AND metric.type = \"run.googleapis.com/request_count\""
}

resource "google_monitoring_alert_policy" "refused" {
  project               = var.project_id
  display_name          = "${var.name}: refused"
  combiner              = "OR"
  notification_channels = var.notification_channels
  user_labels           = var.labels

  conditions {
    display_name = "refused"

    condition_threshold {
      filter          = "${local.answers} AND metric.labels.response_code_class = \"4xx\" AND metric.labels.response_code != \"405\" AND metric.labels.response_code != \"429\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "900s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content   = "For 15 minutes, auditsplit refused requests: an unknown token (401), another cluster's token (403), a wrong path (404), another type (415), or a body that broke off (400). The log has the code and the sender's address. If the sender is an apiserver, its batches are lost: run `auditsplit kubeconfig check FILE --probe` there. If it is a stranger on the internet, nothing is lost."
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "silence" {
  count = var.silence_minutes == null ? 0 : 1

  project               = var.project_id
  display_name          = "${var.name}: silence"
  combiner              = "OR"
  notification_channels = var.notification_channels
  user_labels           = var.labels

  conditions {
    display_name = "silence"

    condition_absent {
      filter   = "${local.answers} AND metric.labels.response_code_class = \"2xx\""
      duration = "${var.silence_minutes * 60}s"

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content   = "auditsplit accepted no batch for ${var.silence_minutes} minutes. Check the apiserver's apiserver_audit_error_total and its log. Refused requests do not end the silence, and health checks from outside do."
    mime_type = "text/markdown"
  }
}
