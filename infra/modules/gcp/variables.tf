variable "project_id" {
  description = "Project in which everything is made."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id: write the project's ID, such as my-project-123, not its name or number."
  }
}

variable "region" {
  description = "Region of the function, and of the buckets: `europe-west1`."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region: write a region such as europe-west1, not a zone."
  }
}

variable "name" {
  description = "Name of the function, its service account and alerts."
  type        = string
  default     = "auditsplit"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.name))
    error_message = "name: write 6 to 30 of a-z, 0-9 and -, a letter first, as the name of a service account requires."
  }
}

variable "package_file" {
  description = "Path of the function's source, as `make bundle` makes it: dist/auditsplit-functions.zip."
  type        = string

  validation {
    condition     = endswith(var.package_file, ".zip") && fileexists(var.package_file)
    error_message = "package_file: there is no such zip; run `make bundle` and name dist/auditsplit-functions.zip."
  }
}

variable "tokens" {
  description = "Who may send: `cluster=sha256:<hash>`, as `auditsplit token <cluster>` prints it. Hashes of random tokens, so no secrets."
  type        = list(string)

  validation {
    condition     = length(var.tokens) > 0
    error_message = "tokens: name at least one, or nobody can send; `auditsplit token <cluster>` prints it."
  }

  validation {
    condition     = alltrue([for token in var.tokens : can(regex("^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?=sha256:[0-9a-f]{64}$", token))])
    error_message = "tokens: write <cluster>=sha256:<64 hex digits>, as `auditsplit token <cluster>` prints it. The token itself belongs into the kubeconfig only."
  }

  validation {
    condition     = length(distinct([for token in var.tokens : reverse(split("=", token))[0]])) == length(var.tokens)
    error_message = "tokens: a hash is listed twice. A token is for one cluster, so make a token for each cluster."
  }
}

variable "bucket_name" {
  description = "Name of the bucket for the events. Bucket names are unique in all of Google. The source is in `<bucket_name>-source`."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9_-]{1,54}[a-z0-9]$", var.bucket_name)) && !can(regex("^goog|google", var.bucket_name))
    error_message = "bucket_name: write 3 to 56 of a-z, 0-9, - and _, with a letter or digit at both ends and no google in it."
  }
}

variable "create_bucket" {
  description = "Whether the module makes the bucket. false uses the existing `bucket_name`. That bucket must have uniform bucket-level access, since the function's permission is bound to a prefix."
  type        = bool
  default     = true
}

variable "prefix" {
  description = "Folder in the bucket below which the function may create objects, without slashes at its ends."
  type        = string
  default     = "audit"

  validation {
    condition     = can(regex("^[A-Za-z0-9._@:=+,-]+(/[A-Za-z0-9._@:=+,-]+)*$", var.prefix)) && !can(regex("(^|/)[.]{1,2}(/|$)", var.prefix))
    error_message = "prefix: write names of A-Z a-z 0-9 . _ @ : = + , - with a / between them, such as audit. The function can write below it only."
  }
}

variable "gcs_options" {
  description = "Further options of the Google store, from docs/sinks.md. The default names the user's folder so that BigQuery can read it."
  type        = map(string)
  default     = { key = "cluster={cluster}/username={user}/dt={date}/hour={hour}" }

  validation {
    condition     = alltrue([for name, value in var.gcs_options : can(regex("^[a-z_]+$", name)) && !can(regex("\\s", value))])
    error_message = "gcs_options: names are a-z and _, values have no spaces. See docs/sinks.md."
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

variable "kms_key_name" {
  description = "Cloud KMS key that encrypts the buckets. null means Google's own keys. The project's Cloud Storage service agent needs roles/cloudkms.cryptoKeyEncrypterDecrypter on it."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_name == null ? true : can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key_name))
    error_message = "kms_key_name: write projects/<project>/locations/<region>/keyRings/<ring>/cryptoKeys/<key>."
  }
}

variable "memory" {
  description = "Memory of an instance."
  type        = string
  default     = "1Gi"

  validation {
    condition     = can(regex("^(512Mi|[1-4]Gi)$", var.memory))
    error_message = "memory: write 512Mi, 1Gi, 2Gi, 3Gi or 4Gi. An instance has one processor, and Cloud Run gives one processor 4Gi at most."
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

variable "concurrency" {
  description = "Requests that an instance serves at once, each in a thread."
  type        = number
  default     = 8

  validation {
    condition     = var.concurrency >= 1 && floor(var.concurrency) == var.concurrency
    error_message = "concurrency: write a whole number of 1 or more."
  }

  validation {
    condition     = var.concurrency <= (var.memory == "512Mi" ? 4 : 8 * try(tonumber(trimsuffix(var.memory, "Gi")), 4))
    error_message = "concurrency: write at most 4 with 512Mi of memory, and at most 8 for each Gi. A request of 32 MB takes up to 128Mi."
  }
}

variable "max_instances" {
  description = "Instances, at most. It bounds the cost of a flood."
  type        = number
  default     = 4

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 100 && floor(var.max_instances) == var.max_instances
    error_message = "max_instances: write 1 to 100."
  }
}

variable "min_instances" {
  description = "Instances that are kept warm, and paid for. 0 means none."
  type        = number
  default     = 0

  validation {
    condition     = var.min_instances >= 0 && var.min_instances <= var.max_instances && floor(var.min_instances) == var.min_instances
    error_message = "min_instances: write 0 to max_instances."
  }
}

variable "ingress" {
  description = "Where requests may come from: ALLOW_ALL, ALLOW_INTERNAL_ONLY (the project's networks) or ALLOW_INTERNAL_AND_GCLB."
  type        = string
  default     = "ALLOW_ALL"

  validation {
    condition     = contains(["ALLOW_ALL", "ALLOW_INTERNAL_ONLY", "ALLOW_INTERNAL_AND_GCLB"], var.ingress)
    error_message = "ingress: write ALLOW_ALL, ALLOW_INTERNAL_ONLY or ALLOW_INTERNAL_AND_GCLB."
  }
}

variable "invokers" {
  description = "Who passes Google's own check, which comes before the token's: `allUsers`, or members such as `serviceAccount:…`. Members must send their ID token as X-Serverless-Authorization, which kube-apiserver can't do. A proxy beside it can."
  type        = set(string)
  default     = ["allUsers"]

  validation {
    condition     = length(var.invokers) > 0 && alltrue([for member in var.invokers : member == "allUsers" || can(regex("^(serviceAccount|user|group|domain|principal|principalSet):.+$", member))])
    error_message = "invokers: write allUsers, or members such as serviceAccount:name@project.iam.gserviceaccount.com. With an empty list, nobody can send."
  }
}

variable "build_service_account" {
  description = "Service account that builds the function, as projects/<project>/serviceAccounts/<email>. null means the project's default, which has no roles in newer organizations. See the README."
  type        = string
  default     = null

  validation {
    condition     = var.build_service_account == null ? true : can(regex("^projects/[^/]+/serviceAccounts/[^/]+@[^/]+$", var.build_service_account))
    error_message = "build_service_account: write projects/<project>/serviceAccounts/<email>."
  }
}

variable "elasticsearch_url" {
  description = "Elasticsearch as a second sink: `elasticsearch+https://host:9200`. null means Cloud Storage alone."
  type        = string
  default     = null

  validation {
    condition     = var.elasticsearch_url == null ? true : can(regex("^elasticsearch[+]https://[^@\\s]+$", var.elasticsearch_url))
    error_message = "elasticsearch_url: write elasticsearch+https://host:9200, without user and password. The API key goes into Secret Manager."
  }
}

variable "elasticsearch_api_key_secret" {
  description = "Secret of Secret Manager that holds the API key for `elasticsearch_url`, by name and version. The key itself never reaches Terraform."
  type = object({
    name    = string
    version = string
  })
  default = null

  validation {
    condition     = (var.elasticsearch_api_key_secret == null) == (var.elasticsearch_url == null)
    error_message = "elasticsearch_api_key_secret: set both this and elasticsearch_url, or neither."
  }
}

variable "environment" {
  description = "Further settings of the function: `{ AUDIT_USER = \"impersonated\" }`. The README has a table of settings."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.environment), ["AUDIT_SINKS", "AUDIT_TOKENS", "ELASTICSEARCH_API_KEY", "THREADS"])) == 0
    error_message = "environment: AUDIT_SINKS, AUDIT_TOKENS, ELASTICSEARCH_API_KEY and THREADS come from the module's other variables. Remove them here."
  }

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", name)) && !can(regex("^(PORT|K_.*|X_GOOGLE_.*|GOOGLE_.*|FUNCTION_.*|ENTRY_POINT|GCP_PROJECT|GCLOUD_PROJECT)$", name))])
    error_message = "environment: names are letters, digits and _, and Google reserves PORT, ENTRY_POINT, GCP_PROJECT, GCLOUD_PROJECT, and names that begin with K_, X_GOOGLE_, GOOGLE_ or FUNCTION_. Remove them here."
  }
}

variable "readers" {
  description = "Members that may list and get below `prefix`, for `auditsplit find`: `group:security@example.com`. With an empty list there is no such role."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.readers : can(regex("^(serviceAccount|user|group|domain|principal|principalSet):.+$", member))])
    error_message = "readers: write members such as group:security@example.com or serviceAccount:name@project.iam.gserviceaccount.com."
  }
}

variable "compact" {
  description = "A second function that joins the small objects of each place and hour by a schedule: `{}`, or `{ schedule = \"15 * * * *\", older_than_hours = 2 }`. null means no such function. See docs/compact.md."
  type = object({
    schedule         = optional(string, "15 * * * *")
    older_than_hours = optional(number, 2)
    max_bytes        = optional(number, 64000000)
    memory           = optional(string, "1Gi")
  })
  default = null

  validation {
    condition     = var.compact == null ? true : can(regex("^\\S+( \\S+){4}$", var.compact.schedule))
    error_message = "compact: write a schedule of five fields, as in a crontab: 15 * * * *. Its times are UTC."
  }

  validation {
    condition     = var.compact == null ? true : var.compact.older_than_hours >= 1
    error_message = "compact: write an older_than_hours of 1 or more. The apiserver may still retry batches of a younger hour."
  }

  validation {
    condition     = var.compact == null ? true : can(regex("^[1-4]Gi$", var.compact.memory))
    error_message = "compact: write a memory of 1Gi, 2Gi, 3Gi or 4Gi. Cloud Run gives one processor 4Gi at most."
  }

  validation {
    condition     = var.compact == null ? true : var.compact.max_bytes >= 1 && floor(var.compact.max_bytes) == var.compact.max_bytes && 6 * var.compact.max_bytes <= (1024 * try(tonumber(trimsuffix(var.compact.memory, "Gi")), 4) - 256) * 1048576
    error_message = "compact: raise memory, or lower max_bytes. Two hours are joined at once, and each takes up to three times max_bytes, beside 256Mi for the libraries."
  }

  validation {
    condition     = var.compact == null ? true : length(var.name) <= 22
    error_message = "compact: write a name of at most 22 characters. The compaction's service account is <name>-compact, and may have 30."
  }
}

variable "notification_channels" {
  description = "Channels that alerts notify: `projects/<project>/notificationChannels/<id>`."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for channel in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[^/]+$", channel))])
    error_message = "notification_channels: write projects/<project>/notificationChannels/<id>."
  }
}

variable "silence_minutes" {
  description = "Minutes without an accepted batch after which an alert fires. null means no such alert. Raise it if your audit policy leaves longer silences."
  type        = number
  default     = 30

  validation {
    condition     = var.silence_minutes == null ? true : var.silence_minutes >= 5 && var.silence_minutes <= 1380 && floor(var.silence_minutes) == var.silence_minutes
    error_message = "silence_minutes: write 5 to 1380, or null for no alert."
  }
}

variable "labels" {
  description = "Labels of everything that the module makes and that can have labels."
  type        = map(string)
  default     = {}
}
