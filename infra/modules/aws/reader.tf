# Who reads events back, with `auditsplit find`, Athena or DuckDB, needs other permissions than the function.
locals {
  read = concat(
    [
      {
        Sid       = "ListBelowThePrefix"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [local.bucket_arn]
        Condition = { StringLike = { "s3:prefix" = ["${var.prefix}/*"] } }
      },
      {
        Sid      = "GetBelowThePrefix"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = ["${local.bucket_arn}/${var.prefix}/*"]
      },
    ],
    [for key in var.kms_key_arn[*] : {
      Sid      = "DecryptTheGet"
      Effect   = "Allow"
      Action   = ["kms:Decrypt"]
      Resource = [key]
    }],
  )
  read_policy = jsonencode({ Version = "2012-10-17", Statement = local.read })
}

resource "aws_iam_role" "reader" {
  count = length(var.readers) > 0 ? 1 : 0

  name        = "${var.name}-reader"
  description = "auditsplit: reads audit events below ${var.prefix}/ of ${local.bucket}"
  tags        = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = var.readers }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "reader" {
  count = length(var.readers) > 0 ? 1 : 0

  name   = "read"
  role   = aws_iam_role.reader[0].id
  policy = local.read_policy
}
