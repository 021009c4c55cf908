locals {
  endpoint = try(trimsuffix(aws_lambda_function_url.this[0].function_url, "/"), null)
}

output "endpoint" {
  description = "URL of the function. The apiserver posts to `<endpoint>/clusters/<cluster>`. null without tokens."
  value       = local.endpoint
}

output "kubeconfig_commands" {
  description = "What to run next, by cluster: takes the token on standard input and writes the kubeconfig for kube-apiserver."
  value = {
    for cluster in distinct([for token in var.tokens : split("=", token)[0]]) :
    cluster => "auditsplit kubeconfig ${cluster} --server ${local.endpoint} --token-from -"
  }
}

output "flags_command" {
  description = "What prints kube-apiserver's flags, sized for this platform. Put in one apiserver's events a second."
  value       = "auditsplit flags --platform lambda --rate 200"
}

output "bucket" {
  description = "Name of the bucket."
  value       = local.bucket
}

output "bucket_arn" {
  description = "ARN of the bucket."
  value       = local.bucket_arn
}

output "location" {
  description = "Where the objects are, for Athena and DuckDB: `s3://bucket/prefix/`."
  value       = "s3://${local.bucket}/${var.prefix}/"
}

output "function_name" {
  description = "Name of the function."
  value       = aws_lambda_function.this.function_name
}

output "function_arn" {
  description = "ARN of the function."
  value       = aws_lambda_function.this.arn
}

output "role_arn" {
  description = "ARN of the function's role."
  value       = aws_iam_role.this.arn
}

output "log_group_name" {
  description = "Name of the function's log group."
  value       = aws_cloudwatch_log_group.this.name
}

output "alarm_names" {
  description = "Names of the alarms."
  value       = sort(concat([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name], aws_cloudwatch_metric_alarm.silence[*].alarm_name, aws_cloudwatch_metric_alarm.dead_letters[*].alarm_name, aws_cloudwatch_metric_alarm.compact[*].alarm_name))
}

output "dead_letter_queue_url" {
  description = "URL of the queue with the events of EKS clusters that could not be stored. null without log_groups."
  value       = one(aws_sqs_queue.dead_letters[*].url)
}

output "reader_policy" {
  description = "IAM policy that allows to list and get below the prefix, and nothing else. Attach it to a role or a permission set of your own."
  value       = local.read_policy
}

output "reader_role_arn" {
  description = "ARN of the role that `readers` may assume. null without readers."
  value       = one(aws_iam_role.reader[*].arn)
}

output "compact_function_name" {
  description = "Name of the function that compacts. null without compact."
  value       = one(aws_lambda_function.compact[*].function_name)
}
