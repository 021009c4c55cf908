# What the module asks of AWS, without AWS: the provider is mocked. `make infra` applies it to a server as well.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }

  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_resource "aws_s3_bucket" {
    defaults = { id = "my-audit" }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/auditsplit" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/auditsplit" }
  }

  mock_resource "aws_lambda_function" {
    defaults = { arn = "arn:aws:lambda:eu-central-1:123456789012:function:auditsplit" }
  }

  mock_resource "aws_cloudwatch_event_rule" {
    defaults = { arn = "arn:aws:events:eu-central-1:123456789012:rule/auditsplit-compact" }
  }

  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-central-1:123456789012:auditsplit-dead-letters" }
  }

  mock_resource "aws_lambda_function_url" {
    defaults = { function_url = "https://abc.lambda-url.eu-central-1.on.aws/" }
  }
}

variables {
  package_file = "tests/empty.zip"
  bucket_name  = "my-audit"
  tokens = [
    "prod=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "prod=sha256:1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "dev.eu=sha256:2123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
  ]
}

run "the_role_may_put_below_the_prefix_and_nothing_else" {
  variables {
    prefix = "logs/audit"
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role_policy.this.policy).Statement) == jsonencode([
      {
        Sid      = "PutBelowThePrefix"
        Effect   = "Allow"
        Action   = ["s3:PutObject"]
        Resource = ["arn:aws:s3:::my-audit/logs/audit/*"]
      },
      {
        Sid      = "WriteItsOwnLog"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/auditsplit:*"]
      },
    ])
    error_message = "The role has other permissions than the two."
  }

  assert {
    condition     = length(aws_lambda_function.compact) + length(aws_iam_role.compact) + length(aws_cloudwatch_event_rule.compact) + length(aws_iam_role.reader) == 0 && output.compact_function_name == null && output.reader_role_arn == null
    error_message = "The compaction and the reader's role must be off by default."
  }

  assert {
    condition     = aws_lambda_function.this.environment[0].variables.AUDIT_SINKS == "s3://my-audit/logs/audit?bucket_owner=123456789012"
    error_message = "The function writes elsewhere than it may."
  }
}

run "the_compaction_and_the_readers_change_nothing_of_that_role" {
  variables {
    prefix  = "logs/audit"
    compact = {}
    readers = ["arn:aws:iam::123456789012:role/security"]
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.this.policy).Statement : join(" ", concat(statement.Action, statement.Resource))] == ["s3:PutObject arn:aws:s3:::my-audit/logs/audit/*", "logs:CreateLogStream logs:PutLogEvents arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/auditsplit:*"] && aws_lambda_function.this.role == aws_iam_role.this.arn
    error_message = "The function that receives events must stay put-only."
  }
}

run "a_reader_may_list_and_get_below_the_prefix" {
  variables {
    prefix  = "logs/audit"
    readers = ["arn:aws:iam::123456789012:role/security"]
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role_policy.reader[0].policy).Statement) == jsonencode([
      {
        Sid       = "ListBelowThePrefix"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = ["arn:aws:s3:::my-audit"]
        Condition = { StringLike = { "s3:prefix" = ["logs/audit/*"] } }
      },
      {
        Sid      = "GetBelowThePrefix"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = ["arn:aws:s3:::my-audit/logs/audit/*"]
      },
    ])
    error_message = "A reader may do more, or less."
  }

  assert {
    condition     = output.reader_policy == aws_iam_role_policy.reader[0].policy && jsondecode(aws_iam_role.reader[0].assume_role_policy).Statement[0].Principal.AWS == ["arn:aws:iam::123456789012:role/security"]
    error_message = "The policy to attach is another one, or others may assume the role."
  }
}

run "the_compaction_runs_by_its_schedule_with_its_own_role" {
  variables {
    prefix      = "logs/audit"
    compact     = { schedule = "cron(15 * * * ? *)", older_than_hours = 3 }
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/1"

    elasticsearch_url     = "elasticsearch+https://es.example.com:9200"
    elasticsearch_api_key = "a-key"
  }

  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.compact[0].policy).Statement : statement.Sid => join(" ", concat(statement.Action, statement.Resource)) } == {
      ListBelowThePrefix       = "s3:ListBucket arn:aws:s3:::my-audit"
      GetBelowThePrefix        = "s3:GetObject arn:aws:s3:::my-audit/logs/audit/*"
      DecryptTheGet            = "kms:Decrypt arn:aws:kms:eu-central-1:123456789012:key/1"
      JoinBelowThePrefix       = "s3:PutObject s3:DeleteObject arn:aws:s3:::my-audit/logs/audit/*"
      SeeWhetherTheBucketLocks = "s3:GetBucketObjectLockConfiguration arn:aws:s3:::my-audit"
      WriteItsOwnLog           = "logs:CreateLogStream logs:PutLogEvents arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/auditsplit:*"
      EncryptThePut            = "kms:GenerateDataKey arn:aws:kms:eu-central-1:123456789012:key/1"
    }
    error_message = "The compaction's role has other permissions."
  }

  assert {
    condition     = aws_lambda_function.compact[0].handler == "lambda_compaction.compact" && aws_lambda_function.compact[0].environment[0].variables == tomap({ AUDIT_SINKS = "s3://my-audit/logs/audit?bucket_owner=123456789012" })
    error_message = "The compaction needs the bucket, and none of the function's secrets."
  }

  assert {
    condition     = aws_cloudwatch_event_rule.compact[0].schedule_expression == "cron(15 * * * ? *)" && jsondecode(aws_cloudwatch_event_target.compact[0].input) == { older_than_s = 10800, max_bytes = 64000000, time_s = 840 }
    error_message = "The schedule sends something else."
  }

  assert {
    condition     = aws_lambda_permission.compact[0].source_arn == aws_cloudwatch_event_rule.compact[0].arn && aws_lambda_permission.compact[0].principal == "events.amazonaws.com"
    error_message = "The schedule alone may start the compaction."
  }

  assert {
    condition     = contains(output.alarm_names, "auditsplit-compact") && aws_cloudwatch_metric_alarm.compact[0].dimensions == tomap({ FunctionName = "auditsplit-compact" })
    error_message = "A failed run needs an alarm."
  }
}

run "the_compaction_runs_in_the_network_too" {
  variables {
    compact = {}
    vpc     = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
  }

  assert {
    condition     = one([for statement in jsondecode(aws_iam_role_policy.compact[0].policy).Statement : statement.Condition.ArnEquals["lambda:SourceFunctionArn"] if statement.Effect == "Deny"]) == ["arn:aws:lambda:eu-central-1:123456789012:function:auditsplit-compact"]
    error_message = "The denial is for another function."
  }
}

run "an_hour_that_the_memory_does_not_hold" {
  command = plan

  variables {
    compact = { max_bytes = 256000000 }
  }

  expect_failures = [var.compact]
}

run "each_choice_adds_its_own_permission" {
  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/1"
    s3_options  = { tags = "team=security,kind=audit" }
    vpc         = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.this.policy).Statement[0].Action == ["s3:PutObject", "s3:PutObjectTagging"]
    error_message = "Tags need s3:PutObjectTagging."
  }

  assert {
    condition = jsondecode(aws_iam_role_policy.this.policy).Statement[2] == {
      Sid      = "EncryptThePut"
      Effect   = "Allow"
      Action   = ["kms:GenerateDataKey"]
      Resource = ["arn:aws:kms:eu-central-1:123456789012:key/1"]
    }
    error_message = "A key needs kms:GenerateDataKey on it alone."
  }

  assert {
    condition     = [for statement in slice(jsondecode(aws_iam_role_policy.this.policy).Statement, 3, 5) : statement.Effect] == ["Allow", "Deny"]
    error_message = "A network needs the interfaces' actions, denied to the code itself."
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.this.policy).Statement[4].Condition.ArnEquals["lambda:SourceFunctionArn"] == ["arn:aws:lambda:eu-central-1:123456789012:function:auditsplit"]
    error_message = "The denial is for another function."
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).bucket_key_enabled
    error_message = "With a key, the bucket asks KMS once for many objects."
  }

  assert {
    condition     = endswith(aws_lambda_function.this.environment[0].variables.AUDIT_SINKS, "&tags=team%3Dsecurity%2Ckind%3Daudit")
    error_message = "The tags are not in the sink's URL."
  }
}

run "the_url_is_open_and_the_function_itself_is_not" {
  assert {
    condition     = aws_lambda_permission.url[0].action == "lambda:InvokeFunctionUrl" && aws_lambda_permission.url[0].function_url_auth_type == "NONE"
    error_message = "The first permission is not the URL's."
  }

  assert {
    condition = jsondecode(aws_cloudformation_stack.url[0].template_body).Resources.InvokeByUrl.Properties == {
      FunctionName          = "auditsplit"
      Action                = "lambda:InvokeFunction"
      Principal             = "*"
      InvokedViaFunctionUrl = true
    }
    error_message = "The second permission must hold for calls by the URL only."
  }

  assert {
    condition     = output.endpoint == "https://abc.lambda-url.eu-central-1.on.aws"
    error_message = "The endpoint is the URL without the slash at its end."
  }

  assert {
    condition     = sort(keys(output.kubeconfig_commands)) == tolist(["dev.eu", "prod"]) && output.kubeconfig_commands["prod"] == "auditsplit kubeconfig prod --server https://abc.lambda-url.eu-central-1.on.aws --token-from -"
    error_message = "Each cluster has one line to run next."
  }
}

run "the_bucket_is_private_versioned_encrypted_and_lifecycled" {
  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this[0].block_public_acls,
      aws_s3_bucket_public_access_block.this[0].block_public_policy,
      aws_s3_bucket_public_access_block.this[0].ignore_public_acls,
      aws_s3_bucket_public_access_block.this[0].restrict_public_buckets,
      aws_s3_bucket_versioning.this[0].versioning_configuration[0].status == "Enabled",
      one(one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256",
      aws_s3_bucket_lifecycle_configuration.this[0].rule[1].expiration[0].days == 365,
      !aws_s3_bucket.this[0].force_destroy,
    ])
    error_message = "The bucket lacks one of its protections."
  }

  assert {
    condition     = jsondecode(aws_s3_bucket_policy.this[0].policy).Statement[0].Condition.Bool["aws:SecureTransport"] == "false"
    error_message = "The bucket takes requests without TLS."
  }
}

run "for_ever_is_no_expiry" {
  variables {
    retention_days = null
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : rule.id] == ["leftovers"]
    error_message = "retention_days = null must leave the objects alone."
  }
}

run "an_existing_bucket_is_left_as_it_is" {
  variables {
    create_bucket = false
  }

  assert {
    condition     = length(aws_s3_bucket.this) + length(aws_s3_bucket_policy.this) + length(aws_s3_bucket_lifecycle_configuration.this) == 0
    error_message = "The module changes a bucket that is not its own."
  }

  assert {
    condition     = aws_lambda_function.this.environment[0].variables.AUDIT_SINKS == "s3://my-audit/audit" && output.bucket == "my-audit"
    error_message = "The function doesn't write to the existing bucket."
  }
}

run "elasticsearch_is_a_second_sink" {
  variables {
    elasticsearch_url     = "elasticsearch+https://es.example.com:9200"
    elasticsearch_api_key = "a-key"
    environment           = { AUDIT_USER = "impersonated" }
  }

  assert {
    condition     = endswith(nonsensitive(aws_lambda_function.this.environment[0].variables).AUDIT_SINKS, " elasticsearch+https://es.example.com:9200")
    error_message = "The second sink is not named."
  }

  assert {
    condition     = sort(keys(nonsensitive(aws_lambda_function.this.environment[0].variables))) == tolist(["AUDIT_SINKS", "AUDIT_TOKENS", "AUDIT_USER", "ELASTICSEARCH_API_KEY"])
    error_message = "The settings are not those of the sinks, the tokens and the variable environment."
  }
}

run "every_failure_has_an_alarm" {
  variables {
    alarm_actions = ["arn:aws:sns:eu-central-1:123456789012:oncall"]
  }

  assert {
    condition     = output.alarm_names == tolist(["auditsplit-errors", "auditsplit-failures", "auditsplit-refused", "auditsplit-rejected", "auditsplit-silence", "auditsplit-throttles"])
    error_message = "An alarm is missing."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_actions == toset(["arn:aws:sns:eu-central-1:123456789012:oncall"])])
    error_message = "An alarm tells nobody."
  }

  assert {
    condition     = alltrue([for name, filter in aws_cloudwatch_log_metric_filter.this : contains([for alarm in concat(values(aws_cloudwatch_metric_alarm.this), aws_cloudwatch_metric_alarm.silence) : alarm.metric_name if alarm.namespace == filter.metric_transformation[0].namespace], name)])
    error_message = "A metric of the log has no alarm."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["refused"].evaluation_periods == 3 && aws_cloudwatch_metric_alarm.this["failures"].evaluation_periods == 1
    error_message = "One refused stranger must set off no alarm, and one failure must."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.silence[0].metric_name == "Accepted" && aws_cloudwatch_metric_alarm.silence[0].treat_missing_data == "breaching"
    error_message = "Refused requests must not end the silence."
  }
}

run "a_reserved_name" {
  command = plan

  variables {
    environment = { AWS_REGION = "eu-central-1" }
  }

  expect_failures = [var.environment]
}

run "log_groups_of_eks_invoke_the_function" {
  variables {
    tokens     = []
    log_groups = ["/aws/eks/prod/cluster", "stage=/aws/eks/Stage_1/cluster"]
  }

  assert {
    condition = {
      for name, filter in aws_cloudwatch_log_subscription_filter.this : name => filter.filter_pattern
    } == { "/aws/eks/prod/cluster" = "", "/aws/eks/Stage_1/cluster" = "" }
    error_message = "Each log group needs a subscription for all of its lines."
  }

  assert {
    condition     = aws_lambda_permission.log_group["/aws/eks/prod/cluster"].source_arn == "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/eks/prod/cluster:*" && aws_lambda_permission.log_group["/aws/eks/prod/cluster"].principal == "logs.eu-central-1.amazonaws.com"
    error_message = "The permission must be for that log group of this account alone."
  }

  assert {
    condition     = aws_lambda_function.this.environment[0].variables.AUDIT_LOG_GROUPS == "/aws/eks/prod/cluster stage=/aws/eks/Stage_1/cluster"
    error_message = "The function does not know its log groups."
  }

  assert {
    condition     = aws_lambda_function_event_invoke_config.this[0].destination_config[0].on_failure[0].destination == "arn:aws:sqs:eu-central-1:123456789012:auditsplit-dead-letters" && jsondecode(aws_iam_role_policy.this.policy).Statement[2].Action == ["sqs:SendMessage"]
    error_message = "What could not be stored needs a queue, and the permission to put it there."
  }

  assert {
    condition     = length(aws_lambda_function_url.this) + length(aws_lambda_permission.url) + length(aws_cloudformation_stack.url) == 0 && output.endpoint == null
    error_message = "Without tokens there must be no Function URL."
  }

  assert {
    condition     = contains(output.alarm_names, "auditsplit-dead-letters")
    error_message = "The queue needs an alarm."
  }
}

run "a_log_group_names_a_valid_cluster" {
  command = plan

  variables {
    log_groups = ["/aws/eks/Prod/cluster"]
  }

  expect_failures = [var.log_groups]
}

run "a_key_of_the_dead_letters_can_be_used" {
  command = plan

  variables {
    tokens      = []
    log_groups  = ["/aws/eks/prod/cluster"]
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/1"
  }

  assert {
    condition = jsonencode(local.encrypt_dead_letters) == jsonencode({
      Sid       = "LetSqsEncryptIt"
      Effect    = "Allow"
      Action    = ["kms:Decrypt"]
      Resource  = ["arn:aws:kms:eu-central-1:123456789012:key/1"]
      Condition = { StringEquals = { "kms:ViaService" = ["sqs.eu-central-1.amazonaws.com"] } }
    })
    error_message = "Without kms:Decrypt, SQS refuses the dead letters, and they are lost."
  }
}

run "every_mistake_is_named" {
  command = plan

  variables {
    name                      = "Audit"
    architecture              = "riscv"
    runtime                   = "nodejs22.x"
    tokens                    = ["the-token-itself"]
    bucket_name               = "My_Bucket"
    prefix                    = "../audit/"
    s3_options                = { sse = "AES256" }
    retention_days            = 0
    noncurrent_retention_days = 0
    kms_key_arn               = "alias/audit"
    log_kms_key_arn           = "alias/logs"
    log_retention_days        = 42
    memory_mb                 = 128
    timeout_s                 = 900
    reserved_concurrency      = 0
    vpc                       = { subnet_ids = [], security_group_ids = [] }
    elasticsearch_url         = "https://user:password@es.example.com"
    environment               = { AUDIT_TOKENS = "prod=…" }
    readers                   = ["security"]
    compact                   = { schedule = "hourly", older_than_hours = 0, memory_mb = 128 }
    alarm_actions             = ["oncall"]
    silence_minutes           = 1
  }

  expect_failures = [
    var.name,
    var.architecture,
    var.runtime,
    var.tokens,
    var.bucket_name,
    var.prefix,
    var.s3_options,
    var.retention_days,
    var.noncurrent_retention_days,
    var.kms_key_arn,
    var.log_kms_key_arn,
    var.log_retention_days,
    var.memory_mb,
    var.timeout_s,
    var.reserved_concurrency,
    var.vpc,
    var.elasticsearch_url,
    var.environment,
    var.readers,
    var.compact,
    var.alarm_actions,
    var.silence_minutes,
  ]
}

run "nobody_to_send_and_nothing_to_send_to" {
  command = plan

  variables {
    package_file  = "tests/none.zip"
    tokens        = []
    bucket_name   = null
    create_bucket = false

    elasticsearch_url = "elasticsearch+https://es.example.com:9200"
  }

  expect_failures = [var.package_file, var.tokens, var.create_bucket, var.elasticsearch_api_key]
}

run "a_zip_for_the_other_processor" {
  command = plan

  variables {
    package_file = "tests/empty-x86_64.zip"
  }

  expect_failures = [var.package_file]
}

run "one_hash_for_two_clusters" {
  command = plan

  variables {
    tokens = [
      "prod=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
      "dev=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ]
  }

  expect_failures = [var.tokens]
}

run "more_tokens_than_lambdas_settings_hold" {
  command = plan

  variables {
    tokens = [for number in range(40) : "cluster-${number}=sha256:${sha256(tostring(number))}"]
  }

  expect_failures = [var.tokens]
}
