variable "name" {
  description = "Name of the function, its role, log group and alarms, and the start of the bucket's name."
  type        = string
  default     = "auditsplit"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "name: write 2 to 31 of a-z, 0-9 and -, a letter first. The bucket's name begins with it."
  }
}

variable "package_file" {
  description = "Path of the function's zip, as `make bundle` makes it: dist/auditsplit-lambda-arm64.zip."
  type        = string

  validation {
    condition     = endswith(var.package_file, ".zip") && fileexists(var.package_file)
    error_message = "package_file: there is no such zip; run `make bundle` and name dist/auditsplit-lambda-arm64.zip."
  }

  validation {
    condition     = !endswith(var.package_file, "-${var.architecture == "arm64" ? "x86_64" : "arm64"}.zip")
    error_message = "package_file: the zip is built for the other processor. Name the zip whose name ends in the value of architecture."
  }
}

variable "architecture" {
  description = "Processor that the zip is built for: arm64 (a fifth cheaper) or x86_64."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture: write arm64 or x86_64."
  }
}

variable "runtime" {
  description = "Lambda's Python that the zip is built for, as in `make bundle LAMBDA_PYTHON=3.13`."
  type        = string
  default     = "python3.13"

  validation {
    condition     = can(regex("^python3[.]1[1-4]$", var.runtime))
    error_message = "runtime: write python3.11 to python3.14, the one that the zip is built for."
  }
}

variable "tokens" {
  description = "Who may send by HTTP: `cluster=sha256:<hash>`, as `auditsplit token <cluster>` prints it. Hashes of random tokens, so no secrets. Without tokens there is no Function URL."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.tokens) > 0 || length(var.log_groups) > 0
    error_message = "tokens: name at least one, or a log group in log_groups, or nobody can send; `auditsplit token <cluster>` prints it."
  }

  validation {
    condition     = alltrue([for token in var.tokens : can(regex("^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?=sha256:[0-9a-f]{64}$", token))])
    error_message = "tokens: write <cluster>=sha256:<64 hex digits>, as `auditsplit token <cluster>` prints it. The token itself belongs into the kubeconfig only."
  }

  validation {
    condition     = length(distinct([for token in var.tokens : reverse(split("=", token))[0]])) == length(var.tokens)
    error_message = "tokens: a hash is listed twice. A token is for one cluster, so make a token for each cluster."
  }

  validation {
    condition     = length(join(" ", var.tokens)) <= 3000
    error_message = "tokens: they have more than 3,000 bytes, and Lambda accepts 4 kB of settings in all. Remove tokens that no sender uses, or deploy a second function."
  }
}

variable "log_groups" {
  description = "Log groups of EKS clusters in this region: `/aws/eks/<cluster>/cluster`, or `<cluster>=<log group>` to choose the cluster's name. The cluster's audit logging must be on."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for entry in var.log_groups : can(regex("^([a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?=[A-Za-z0-9_./#-]{1,512}|/aws/eks/[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?/cluster)$", entry))])
    error_message = "log_groups: write /aws/eks/<cluster>/cluster, or <cluster>=<log group> with a cluster of a-z, 0-9, - and ."
  }

  validation {
    condition     = length(distinct([for entry in var.log_groups : reverse(split("=", entry))[0]])) == length(var.log_groups)
    error_message = "log_groups: a log group is listed twice."
  }
}

variable "bucket_name" {
  description = "Name of the bucket. null makes a name from `name`."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_name == null ? true : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "bucket_name: write 3 to 63 of a-z, 0-9, - and ., with a letter or digit at both ends."
  }
}

variable "create_bucket" {
  description = "Whether the module makes the bucket. false uses the existing `bucket_name` as it is."
  type        = bool
  default     = true

  validation {
    condition     = var.create_bucket || var.bucket_name != null
    error_message = "create_bucket: with false, name the existing bucket in bucket_name."
  }
}

variable "prefix" {
  description = "Folder in the bucket below which the function may put, without slashes at its ends."
  type        = string
  default     = "audit"

  validation {
    condition     = can(regex("^[A-Za-z0-9._@:=+,-]+(/[A-Za-z0-9._@:=+,-]+)*$", var.prefix)) && !can(regex("(^|/)[.]{1,2}(/|$)", var.prefix))
    error_message = "prefix: write names of A-Z a-z 0-9 . _ @ : = + , - with a / between them, such as audit. The function can write below it only."
  }
}

variable "s3_options" {
  description = "Further options of the S3 store, from docs/sinks.md: `{ compress = \"zstd\" }`."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name, value in var.s3_options : can(regex("^[a-z_]+$", name)) && !can(regex("\\s", value))])
    error_message = "s3_options: names are a-z and _, values have no spaces. See docs/sinks.md."
  }

  validation {
    condition     = length(setintersection(keys(var.s3_options), ["kms_key", "sse", "bucket_owner", "bucket_key"])) == 0
    error_message = "s3_options: encryption and owner come from the bucket. Set kms_key_arn instead."
  }
}

variable "retention_days" {
  description = "Days that objects are kept. null means for ever. An existing bucket keeps its own rules."
  type        = number
  default     = 365

  validation {
    condition     = var.retention_days == null ? true : var.retention_days >= 1 && floor(var.retention_days) == var.retention_days
    error_message = "retention_days: write a whole number of 1 or more, or null for ever."
  }
}

variable "noncurrent_retention_days" {
  description = "Days for which a deleted object can be restored."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_retention_days >= 1 && floor(var.noncurrent_retention_days) == var.noncurrent_retention_days
    error_message = "noncurrent_retention_days: write a whole number of 1 or more."
  }
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes the bucket with the events in it."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "KMS key that encrypts the bucket's objects and the function's environment. null means AWS's own keys. With an existing bucket: the key that it encrypts with."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn: write the key's own ARN, arn:aws:kms:<region>:<account>:key/<id>. A policy can't name an alias."
  }
}

variable "log_kms_key_arn" {
  description = "KMS key that encrypts the log group. Its policy must let logs.<region>.amazonaws.com use it. The log holds no event's body and no token."
  type        = string
  default     = null

  validation {
    condition     = var.log_kms_key_arn == null ? true : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.log_kms_key_arn))
    error_message = "log_kms_key_arn: write the key's own ARN, arn:aws:kms:<region>:<account>:key/<id>."
  }
}

variable "log_retention_days" {
  description = "Days that the function's log is kept."
  type        = number
  default     = 90

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days: write 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653, the values that CloudWatch accepts."
  }
}

variable "memory_mb" {
  description = "Memory of the function in MB. Lambda gives processor time in proportion."
  type        = number
  default     = 512

  validation {
    condition     = var.memory_mb >= 256 && var.memory_mb <= 10240 && floor(var.memory_mb) == var.memory_mb
    error_message = "memory_mb: write 256 to 10240. With less, a request of 6 MB has too little memory beside the libraries, and too little processor."
  }
}

variable "timeout_s" {
  description = "Seconds that a request may take. The apiserver waits 30 s, so more gains nothing."
  type        = number
  default     = 30

  validation {
    condition     = var.timeout_s >= 15 && var.timeout_s <= 30 && floor(var.timeout_s) == var.timeout_s
    error_message = "timeout_s: write 15 to 30. A batch has 12 s for its puts, and the apiserver gives up after 30."
  }
}

variable "reserved_concurrency" {
  description = "Requests served at once, at most. It bounds the cost of a flood. -1 means no bound, for accounts that have no concurrency to reserve."
  type        = number
  default     = 20

  validation {
    condition     = (var.reserved_concurrency == -1 || var.reserved_concurrency >= 1) && floor(var.reserved_concurrency) == var.reserved_concurrency
    error_message = "reserved_concurrency: write 1 or more, or -1 for no bound. 0 would refuse every event."
  }
}

variable "vpc" {
  description = "Private subnets and security groups to run in. null means Lambda's own network. The subnets need a way to S3 (a gateway endpoint)."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null

  validation {
    condition     = var.vpc == null ? true : length(var.vpc.subnet_ids) > 0 && length(var.vpc.security_group_ids) > 0
    error_message = "vpc: name at least one subnet and one security group."
  }
}

variable "elasticsearch_url" {
  description = "Elasticsearch as a second sink: `elasticsearch+https://host:9200`. null means S3 alone."
  type        = string
  default     = null

  validation {
    condition     = var.elasticsearch_url == null ? true : can(regex("^elasticsearch[+]https://[^@\\s]+$", var.elasticsearch_url))
    error_message = "elasticsearch_url: write elasticsearch+https://host:9200, without user and password. The API key goes into elasticsearch_api_key."
  }
}

variable "elasticsearch_api_key" {
  description = "API key for `elasticsearch_url`. It is in Terraform's state and, encrypted, in the function's settings."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = (var.elasticsearch_api_key == null) == (var.elasticsearch_url == null)
    error_message = "elasticsearch_api_key: set both this and elasticsearch_url, or neither."
  }
}

variable "environment" {
  description = "Further settings of the function: `{ AUDIT_USER = \"impersonated\" }`. The README has a table of settings."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.environment), ["AUDIT_SINKS", "AUDIT_TOKENS", "AUDIT_LOG_GROUPS", "ELASTICSEARCH_API_KEY"])) == 0
    error_message = "environment: AUDIT_SINKS, AUDIT_TOKENS, AUDIT_LOG_GROUPS and ELASTICSEARCH_API_KEY come from the module's other variables. Remove them here."
  }

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^[A-Za-z][A-Za-z0-9_]+$", name)) && !can(regex("^(AWS_(REGION|DEFAULT_REGION|EXECUTION_ENV|ACCESS_KEY|ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|LAMBDA_.*)|LAMBDA_(TASK_ROOT|RUNTIME_DIR)|TZ)$", name))])
    error_message = "environment: names are a letter, then letters, digits and _, and Lambda reserves AWS_REGION, AWS_DEFAULT_REGION, AWS_EXECUTION_ENV, its credentials, AWS_LAMBDA_…, LAMBDA_TASK_ROOT, LAMBDA_RUNTIME_DIR and TZ. Remove them here."
  }
}

variable "readers" {
  description = "ARNs of IAM principals that may assume a role that lists and gets below `prefix`, for `auditsplit find`. With an empty list there is no such role."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.readers : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(root|(role|user)/.+)$", arn))])
    error_message = "readers: write ARNs of roles, users or an account, such as arn:aws:iam::123456789012:role/security."
  }
}

variable "compact" {
  description = "A second function that joins the small objects of each place and hour by a schedule: `{}`, or `{ schedule = \"rate(1 hour)\", older_than_hours = 2 }`. null means no such function. See docs/compact.md."
  type = object({
    schedule         = optional(string, "rate(1 hour)")
    older_than_hours = optional(number, 2)
    max_bytes        = optional(number, 64000000)
    memory_mb        = optional(number, 1024)
  })
  default = null

  validation {
    condition     = var.compact == null ? true : can(regex("^(rate[(][0-9]+ (minutes?|hours?|days?)[)]|cron[(][^()]+[)])$", var.compact.schedule))
    error_message = "compact: write a schedule of EventBridge, such as rate(1 hour) or cron(15 * * * ? *)."
  }

  validation {
    condition     = var.compact == null ? true : var.compact.older_than_hours >= 1
    error_message = "compact: write an older_than_hours of 1 or more. The apiserver may still retry batches of a younger hour."
  }

  validation {
    condition     = var.compact == null ? true : var.compact.memory_mb >= 512 && var.compact.memory_mb <= 10240 && floor(var.compact.memory_mb) == var.compact.memory_mb
    error_message = "compact: write a memory_mb of 512 to 10240."
  }

  validation {
    condition     = var.compact == null ? true : var.compact.max_bytes >= 1 && floor(var.compact.max_bytes) == var.compact.max_bytes && 6 * var.compact.max_bytes <= (var.compact.memory_mb - 256) * 1048576
    error_message = "compact: raise memory_mb, or lower max_bytes. Two hours are joined at once, and each takes up to three times max_bytes, beside 256 MB for the libraries."
  }
}

variable "alarm_actions" {
  description = "ARNs that alarms notify, such as an SNS topic's."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.alarm_actions : startswith(arn, "arn:")])
    error_message = "alarm_actions: write ARNs, such as arn:aws:sns:<region>:<account>:<topic>."
  }
}

variable "silence_minutes" {
  description = "Minutes without an accepted batch after which an alarm fires. null means no such alarm. Raise it if your audit policy leaves longer silences."
  type        = number
  default     = 30

  validation {
    condition     = var.silence_minutes == null ? true : var.silence_minutes >= 5 && var.silence_minutes <= 1440 && floor(var.silence_minutes) == var.silence_minutes
    error_message = "silence_minutes: write 5 to 1440, or null for no alarm."
  }
}

variable "tags" {
  description = "Tags of everything that the module makes."
  type        = map(string)
  default     = {}
}
