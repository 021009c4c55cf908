locals {
  # The figures of each request's log line that are sums or times, by their field names. A log-based metric can't sum
  # a number. A distribution has count and mean, and so the sum.
  figures = {
    events       = { unit = "1", description = "Events in a batch, including retries." }
    rejected     = { unit = "1", description = "Malformed items of a batch." }
    truncated    = { unit = "1", description = "Events of a batch that kube-apiserver truncated." }
    omitted      = { unit = "1", description = "Events of a batch that AUDIT_POLICY dropped." }
    tooLarge     = { unit = "1", description = "Events of a batch that AUDIT_TRUNCATE_MAX_EVENT_SIZE dropped." }
    duplicates   = { unit = "1", description = "Events of a batch that was stored before." }
    bytesIn      = { unit = "By", description = "Bytes of a body, as sent." }
    bytesOut     = { unit = "By", description = "Bytes of a batch that the sinks were given." }
    delaySeconds = { unit = "s", description = "From the time of a batch's oldest event to its arrival." }
  }

  # 1 to 2^40 (bytes of a large body), and seconds from 0.1 to some hours.
  buckets = { for name, figure in local.figures : name => figure.unit == "s" ? { scale = 0.1, finite = 20 } : { scale = 1, finite = 40 } }
}

resource "google_logging_metric" "requests" {
  project     = var.project_id
  name        = "${var.name}/requests"
  description = "Answers to posted bodies, and refused requests."
  filter      = "${local.own_log} AND jsonPayload.code:*"

  label_extractors = {
    cluster = "EXTRACT(jsonPayload.cluster)"
    code    = "EXTRACT(jsonPayload.code)"
    status  = "EXTRACT(jsonPayload.status)"
  }

  metric_descriptor {
    display_name = "${var.name}: requests"
    metric_kind  = "DELTA"
    value_type   = "INT64"
    unit         = "1"

    labels {
      key         = "cluster"
      value_type  = "STRING"
      description = "The events' cluster, empty where the sender is unknown."
    }

    labels {
      key         = "code"
      value_type  = "STRING"
      description = "The outcome. docs/operate.md lists the codes."
    }

    labels {
      key         = "status"
      value_type  = "INT64"
      description = "The HTTP status."
    }
  }
}

resource "google_logging_metric" "figures" {
  for_each = local.figures

  project         = var.project_id
  name            = "${var.name}/${each.key}"
  description     = each.value.description
  filter          = "${local.own_log} AND jsonPayload.code:* AND jsonPayload.${each.key}>0"
  value_extractor = "EXTRACT(jsonPayload.${each.key})"

  label_extractors = {
    cluster = "EXTRACT(jsonPayload.cluster)"
  }

  metric_descriptor {
    display_name = "${var.name}: ${each.key}"
    metric_kind  = "DELTA"
    value_type   = "DISTRIBUTION"
    unit         = each.value.unit

    labels {
      key         = "cluster"
      value_type  = "STRING"
      description = "The events' cluster."
    }
  }

  bucket_options {
    exponential_buckets {
      num_finite_buckets = local.buckets[each.key].finite
      growth_factor      = 2
      scale              = local.buckets[each.key].scale
    }
  }
}
