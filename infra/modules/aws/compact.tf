# The compaction as a function of its own, started by a schedule. It may list, get, put and delete below the prefix. The
# function that receives events keeps its role, which may only put.
locals {
  compact_count = var.compact == null ? 0 : 1
  compact_name  = "${var.name}-compact"

  compact_arn = "arn:${data.aws_partition.current.partition}:lambda:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:function:${local.compact_name}"

  compact_policy = concat(
    local.read,
    [
      {
        Sid      = "JoinBelowThePrefix"
        Effect   = "Allow"
        Action   = concat(local.put.Action, ["s3:DeleteObject"])
        Resource = local.put.Resource
      },
      {
        Sid      = "SeeWhetherTheBucketLocks"
        Effect   = "Allow"
        Action   = ["s3:GetBucketObjectLockConfiguration"]
        Resource = [local.bucket_arn]
      },
      {
        Sid      = "WriteItsOwnLog"
        Effect   = "Allow"
        Action   = local.log.Action
        Resource = formatlist("%s:*", aws_cloudwatch_log_group.compact[*].arn)
      },
    ],
    [for statement in [local.encrypt] : statement if var.kms_key_arn != null],
    [for statement in local.compact_network : statement if var.vpc != null],
  )

  compact_network = [
    local.network[0],
    merge(local.network[1], { Condition = { ArnEquals = { "lambda:SourceFunctionArn" = [local.compact_arn] } } }),
  ]
}

resource "aws_cloudwatch_log_group" "compact" {
  # checkov:skip=CKV_AWS_158: CloudWatch encrypts by itself; log_kms_key_arn gives a key of one's own
  # checkov:skip=CKV_AWS_338: this log is about delivery; the audit events themselves are kept for retention_days
  count = local.compact_count

  name              = "/aws/lambda/${local.compact_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "compact" {
  count = local.compact_count

  name               = local.compact_name
  description        = "auditsplit: joins objects below ${var.prefix}/ of ${local.bucket}"
  assume_role_policy = aws_iam_role.this.assume_role_policy
  tags               = var.tags
}

resource "aws_iam_role_policy" "compact" {
  # checkov:skip=CKV_AWS_290: the network statement, in a VPC only, is the one that Lambda's documentation asks for
  # checkov:skip=CKV_AWS_355: likewise
  # checkov:skip=CKV_AWS_289: likewise
  count = local.compact_count

  name   = "compact"
  role   = aws_iam_role.compact[0].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.compact_policy })
}

resource "aws_lambda_function" "compact" {
  # checkov:skip=CKV_AWS_50: its log names what it joined
  # checkov:skip=CKV_AWS_115: a schedule starts it, and two runs at once are harmless
  # checkov:skip=CKV_AWS_116: a failed run is done again by the next one, so there is nothing to keep
  # checkov:skip=CKV_AWS_117: vpc puts the function into a network
  # checkov:skip=CKV_AWS_173: the settings hold no secret; kms_key_arn gives a key
  # checkov:skip=CKV_AWS_272: the zip is made from the deployer's own checkout, and source_code_hash pins it
  count = local.compact_count

  function_name    = local.compact_name
  description      = "auditsplit: joins the small objects of each place and hour"
  role             = aws_iam_role.compact[0].arn
  filename         = var.package_file
  source_code_hash = filebase64sha256(var.package_file)
  handler          = "lambda_compaction.compact"
  runtime          = var.runtime
  architectures    = [var.architecture]
  memory_size      = var.compact.memory_mb
  timeout          = 900
  kms_key_arn      = var.kms_key_arn
  tags             = var.tags

  environment {
    variables = { AUDIT_SINKS = local.s3_url }
  }

  dynamic "vpc_config" {
    for_each = var.vpc[*]

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  depends_on = [
    aws_cloudwatch_log_group.compact, # Lambda takes the group of the function's name
    aws_iam_role_policy.compact,
  ]
}

# The next run does again what a failed one left, and each failure counts for the alarm once.
resource "aws_lambda_function_event_invoke_config" "compact" {
  count = local.compact_count

  function_name          = aws_lambda_function.compact[0].function_name
  maximum_retry_attempts = 0
}

resource "aws_cloudwatch_event_rule" "compact" {
  count = local.compact_count

  name                = local.compact_name
  description         = "Starts auditsplit's compaction"
  schedule_expression = var.compact.schedule
  tags                = var.tags
}

resource "aws_cloudwatch_event_target" "compact" {
  count = local.compact_count

  rule = aws_cloudwatch_event_rule.compact[0].name
  arn  = aws_lambda_function.compact[0].arn
  input = jsonencode({
    older_than_s = var.compact.older_than_hours * 3600
    max_bytes    = var.compact.max_bytes
    time_s       = 840 # of 900 s, so that the hours in work end before the function does
  })

  depends_on = [aws_lambda_permission.compact]
}

resource "aws_lambda_permission" "compact" {
  count = local.compact_count

  statement_id  = "schedule"
  function_name = aws_lambda_function.compact[0].function_name
  action        = "lambda:InvokeFunction"
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.compact[0].arn
}

resource "aws_cloudwatch_metric_alarm" "compact" {
  count = local.compact_count

  alarm_name          = local.compact_name
  alarm_description   = "A run of auditsplit's compaction failed, or left hours as they are. No event is lost. The log /aws/lambda/${local.compact_name} has the reason. The next run does the rest."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = aws_lambda_function.compact[0].function_name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}
