locals {
  function_arn = "arn:${data.aws_partition.current.partition}:lambda:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:function:${var.name}"

  s3_options = merge(var.s3_options, var.create_bucket ? { bucket_owner = data.aws_caller_identity.current.account_id } : {})
  s3_query   = join("&", [for name, value in local.s3_options : "${name}=${urlencode(value)}"])
  s3_url     = "s3://${local.bucket}/${var.prefix}${local.s3_query == "" ? "" : "?"}${local.s3_query}"

  environment = merge(
    var.environment,
    {
      AUDIT_SINKS  = join(" ", concat([local.s3_url], var.elasticsearch_url[*]))
      AUDIT_TOKENS = join(" ", var.tokens)
    },
    local.by_log ? { AUDIT_LOG_GROUPS = join(" ", var.log_groups) } : {},
    var.elasticsearch_url == null ? {} : { ELASTICSEARCH_API_KEY = var.elasticsearch_api_key },
  )
}

data "aws_region" "current" {}

resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_158: CloudWatch encrypts by itself; log_kms_key_arn gives a key of one's own
  # checkov:skip=CKV_AWS_338: this log is about delivery; the audit events themselves are kept for retention_days
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
  tags              = var.tags
}

resource "aws_lambda_function" "this" {
  # checkov:skip=CKV_AWS_50: a request is one put a user; a trace would tell no more than the log
  # checkov:skip=CKV_AWS_116: a dead-letter queue is for log_groups; the apiserver waits for an answer, and retries
  # checkov:skip=CKV_AWS_117: the apiserver comes from elsewhere; vpc puts the function into a network
  # checkov:skip=CKV_AWS_173: AWS encrypts the settings by itself, and they hold hashes; kms_key_arn gives a key
  # checkov:skip=CKV_AWS_272: the zip is made from the deployer's own checkout, and source_code_hash pins it
  function_name    = var.name
  description      = "auditsplit: Kubernetes audit events into every user's own objects"
  role             = aws_iam_role.this.arn
  filename         = var.package_file
  source_code_hash = filebase64sha256(var.package_file)
  handler          = "lambda_function.ingest"
  runtime          = var.runtime
  architectures    = [var.architecture]
  memory_size      = var.memory_mb
  timeout          = var.timeout_s
  kms_key_arn      = var.kms_key_arn
  tags             = var.tags

  reserved_concurrent_executions = var.reserved_concurrency

  environment {
    variables = local.environment
  }

  dynamic "vpc_config" {
    for_each = var.vpc[*]

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  depends_on = [
    aws_cloudwatch_log_group.this, # Lambda takes the group of the function's name
    aws_iam_role_policy.this,
  ]
}

# The state of a module that always had a URL.
moved {
  from = aws_lambda_function_url.this
  to   = aws_lambda_function_url.this[0]
}

moved {
  from = aws_lambda_permission.url
  to   = aws_lambda_permission.url[0]
}

moved {
  from = aws_cloudformation_stack.url
  to   = aws_cloudformation_stack.url[0]
}

locals {
  by_url = length(var.tokens) > 0 ? 1 : 0
}

resource "aws_lambda_function_url" "this" {
  # checkov:skip=CKV_AWS_258: kube-apiserver can't sign requests; the function takes bearer tokens, each bound to a cluster
  count = local.by_url

  function_name      = aws_lambda_function.this.function_name
  authorization_type = "NONE"
}

# A URL opened since October 2025 wants two permissions: this one, and the one below it.
resource "aws_lambda_permission" "url" {
  # checkov:skip=CKV_AWS_301: the URL is public by intent, see the function's URL
  count = local.by_url

  statement_id           = "function-url"
  function_name          = aws_lambda_function.this.function_name
  action                 = "lambda:InvokeFunctionUrl"
  principal              = "*"
  function_url_auth_type = "NONE"
}

# lambda:InvokeFunction for calls by the URL alone. Without that condition any AWS account could call the function past
# its URL, with a sender's address of its own invention. aws_lambda_permission can say it (invoked_via_function_url)
# in later versions of provider 6 only; CloudFormation can beside every version.
resource "aws_cloudformation_stack" "url" {
  # checkov:skip=CKV_AWS_124: the stack is a single permission, made while terraform waits
  count = local.by_url

  name = "${var.name}-function-url"
  tags = var.tags

  template_body = jsonencode({
    AWSTemplateFormatVersion = "2010-09-09"
    Description              = "auditsplit: allows calls of ${var.name} by its URL"
    Resources = {
      InvokeByUrl = {
        Type = "AWS::Lambda::Permission"
        Properties = {
          FunctionName          = aws_lambda_function.this.function_name
          Action                = "lambda:InvokeFunction"
          Principal             = "*"
          InvokedViaFunctionUrl = true
        }
      }
    }
  })
}
