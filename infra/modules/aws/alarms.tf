locals {
  namespace = "auditsplit/${var.name}"

  # Patterns for the function's own log lines, {"severity":…,"code":…,"message":…}. Lambda's metrics don't count these
  # requests: the function answers them with a status, and Lambda counts that as a success.
  patterns = {
    Failures = "{ $.severity = \"ERROR\" || $.severity = \"CRITICAL\" }"
    Rejected = "{ $.code = \"rejected\" || $.code = \"undecodable\" || $.code = \"body-too-large\" }"
    Refused  = "{ $.code = \"unauthenticated\" || $.code = \"forbidden\" || $.code = \"not-found\" || $.code = \"unsupported-body\" || $.code = \"broken-off\" || $.code = \"sender-left\" }"
    Accepted = "{ $.code = \"ok\" || $.code = \"rejected\" }"
  }

  alarms = {
    errors = {
      description = "auditsplit ended without an answer: it was too slow, ran out of memory or could not start. The apiserver tries a batch five times and then drops it."
      namespace   = "AWS/Lambda"
      metric      = "Errors"
    }
    throttles = {
      description = "Lambda refused requests because the concurrency was used up. Raise reserved_concurrency. The apiserver tries a batch five times and then drops it."
      namespace   = "AWS/Lambda"
      metric      = "Throttles"
    }
    failures = {
      description = "auditsplit could not store a batch and answered 503 or 500. The log has the reason. The apiserver retries for some minutes."
      namespace   = local.namespace
      metric      = "Failures"
    }
    rejected = {
      description = "auditsplit received malformed items, a malformed body or a body that is too large. The log says where they are, below ${var.prefix}/_rejected/. A body that is too large is not kept."
      namespace   = local.namespace
      metric      = "Rejected"
    }
    refused = {
      description = "For 15 minutes, auditsplit refused requests: an unknown token (401), another cluster's token (403), a wrong path (404), another type (415), or a body that broke off (400). The log has the code and the sender's address. If the sender is an apiserver, its batches are lost: run auditsplit kubeconfig check FILE --probe there. If it is a stranger on the internet, nothing is lost."
      namespace   = local.namespace
      metric      = "Refused"
      periods     = 3
    }
  }
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each = local.patterns

  name           = "${var.name}-${lower(each.key)}"
  log_group_name = aws_cloudwatch_log_group.this.name
  pattern        = each.value

  metric_transformation {
    namespace     = local.namespace
    name          = each.key
    value         = "1"
    default_value = "0"
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.namespace == "AWS/Lambda" ? { FunctionName = aws_lambda_function.this.function_name } : {}
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = try(each.value.periods, 1)
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "silence" {
  count = var.silence_minutes == null ? 0 : 1

  alarm_name          = "${var.name}-silence"
  alarm_description   = "auditsplit accepted no batch for ${var.silence_minutes} minutes. Check the apiserver's apiserver_audit_error_total and its log. Refused requests do not end the silence."
  namespace           = aws_cloudwatch_log_metric_filter.this["Accepted"].metric_transformation[0].namespace
  metric_name         = aws_cloudwatch_log_metric_filter.this["Accepted"].metric_transformation[0].name
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = var.silence_minutes
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}
