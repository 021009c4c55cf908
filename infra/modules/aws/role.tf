locals {
  may_tag = contains(keys(var.s3_options), "tags")

  # The whole of what the code may do: put below the prefix. It reads, lists and deletes nothing.
  put = {
    Sid      = "PutBelowThePrefix"
    Effect   = "Allow"
    Action   = concat(["s3:PutObject"], local.may_tag ? ["s3:PutObjectTagging"] : [])
    Resource = ["${local.bucket_arn}/${var.prefix}/*"]
  }

  encrypt = {
    Sid      = "EncryptThePut"
    Effect   = "Allow"
    Action   = ["kms:GenerateDataKey"]
    Resource = var.kms_key_arn[*]
  }

  log = {
    Sid      = "WriteItsOwnLog"
    Effect   = "Allow"
    Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    Resource = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }

  network_actions = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
  ]

  # Lambda asks for these with the role's name; EC2 knows no narrower resource when a function is attached.
  network = [
    {
      Sid      = "LetLambdaAttachIt"
      Effect   = "Allow"
      Action   = local.network_actions
      Resource = ["*"]
    },
    {
      Sid       = "ButNotTheCodeItself"
      Effect    = "Deny"
      Action    = local.network_actions
      Resource  = ["*"]
      Condition = { ArnEquals = { "lambda:SourceFunctionArn" = [local.function_arn] } }
    },
  ]
}

resource "aws_iam_role" "this" {
  name        = var.name
  description = "auditsplit: puts audit events below ${var.prefix}/ of ${local.bucket}"
  tags        = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  # checkov:skip=CKV_AWS_290: the network statement, in a VPC only, is the one that Lambda's documentation asks for
  # checkov:skip=CKV_AWS_355: likewise
  # checkov:skip=CKV_AWS_289: likewise
  name = "put"
  role = aws_iam_role.this.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [local.put, local.log],
      [for statement in [local.encrypt] : statement if var.kms_key_arn != null],
      [for statement in [local.dead_letters] : statement if local.by_log],
      [for statement in [local.encrypt_dead_letters] : statement if local.by_log && var.kms_key_arn != null],
      [for statement in local.network : statement if var.vpc != null],
    )
  })
}
