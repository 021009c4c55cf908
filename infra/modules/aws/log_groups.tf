# The audit logs of EKS clusters. CloudWatch Logs invokes the function without waiting for an answer, and Lambda retries
# for up to 6 hours. What could not be stored then is in the dead-letter queue: requestPayload in a message is the event.
locals {
  log_groups  = toset([for entry in var.log_groups : reverse(split("=", entry))[0]])
  by_log      = length(local.log_groups) > 0
  log_arn     = "arn:${data.aws_partition.current.partition}:logs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:log-group"
  queue_count = local.by_log ? 1 : 0

  dead_letters = {
    Sid      = "KeepWhatCouldNotBeStored"
    Effect   = "Allow"
    Action   = ["sqs:SendMessage"]
    Resource = aws_sqs_queue.dead_letters[*].arn
  }

  # SQS asks for it before it encrypts a message. By itself, the code decrypts nothing.
  encrypt_dead_letters = {
    Sid       = "LetSqsEncryptIt"
    Effect    = "Allow"
    Action    = ["kms:Decrypt"]
    Resource  = var.kms_key_arn[*]
    Condition = { StringEquals = { "kms:ViaService" = ["sqs.${data.aws_region.current.name}.amazonaws.com"] } }
  }
}

# With a key, sqs_managed_sse_enabled must be absent: the provider refuses false beside it too.
resource "aws_sqs_queue" "dead_letters" {
  count = local.queue_count

  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600 # 14 days, the most that SQS offers
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
  tags                      = var.tags
}

resource "aws_lambda_function_event_invoke_config" "this" {
  count = local.queue_count

  function_name                = aws_lambda_function.this.function_name
  maximum_retry_attempts       = 2
  maximum_event_age_in_seconds = 21600

  destination_config {
    on_failure {
      destination = aws_sqs_queue.dead_letters[0].arn
    }
  }

  depends_on = [aws_iam_role_policy.this] # Lambda checks that the function may send there
}

resource "aws_lambda_permission" "log_group" {
  for_each = local.log_groups

  statement_id   = "log-group-${substr(sha256(each.value), 0, 16)}"
  function_name  = aws_lambda_function.this.function_name
  action         = "lambda:InvokeFunction"
  principal      = "logs.${data.aws_region.current.name}.amazonaws.com"
  source_arn     = "${local.log_arn}:${each.value}:*"
  source_account = data.aws_caller_identity.current.account_id
}

resource "aws_cloudwatch_log_subscription_filter" "this" {
  for_each = local.log_groups

  name            = var.name
  log_group_name  = each.value
  destination_arn = aws_lambda_function.this.arn
  filter_pattern  = "" # all lines: a pattern that parses JSON could miss a line that a user made hard to parse

  depends_on = [aws_lambda_permission.log_group]
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  count = local.queue_count

  alarm_name          = "${var.name}-dead-letters"
  alarm_description   = "auditsplit could not store events of an EKS cluster within 6 hours. They are in the queue ${var.name}-dead-letters for 14 days. The function's log has the reason."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead_letters[0].name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}
