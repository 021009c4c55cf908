# What the variables let in. `terraform test` runs this over the module. `make infra` runs it over variables.tf alone,
# and without the next line, where the provider is not at hand.

mock_provider "google" {}

variables {
  project_id   = "my-project-123"
  region       = "europe-west1"
  bucket_name  = "my-project-123-audit"
  package_file = "tests/empty.zip"
  tokens       = ["prod=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]
}

run "what_the_example_gives_is_good" {
  command = plan
}

run "every_choice_is_good" {
  command = plan

  variables {
    name                         = "audit-prod"
    prefix                       = "kubernetes/audit"
    gcs_options                  = { compress = "zstd" }
    retention_days               = null
    kms_key_name                 = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
    memory                       = "512Mi"
    concurrency                  = 4
    max_instances                = 10
    min_instances                = 1
    ingress                      = "ALLOW_INTERNAL_ONLY"
    invokers                     = ["serviceAccount:proxy@my-project-123.iam.gserviceaccount.com"]
    build_service_account        = "projects/my-project-123/serviceAccounts/build@my-project-123.iam.gserviceaccount.com"
    elasticsearch_url            = "elasticsearch+https://es.example.com:9200"
    elasticsearch_api_key_secret = { name = "es", version = "1" }
    environment                  = { AUDIT_USER = "impersonated" }
    readers                      = ["group:security@example.com"]
    compact                      = { schedule = "15 */2 * * *", older_than_hours = 3, max_bytes = 128000000, memory = "2Gi" }
    notification_channels        = ["projects/my-project-123/notificationChannels/1"]
    silence_minutes              = null
  }
}

run "every_mistake_is_named" {
  command = plan

  variables {
    project_id                = "My Project"
    region                    = "europe-west1-b"
    name                      = "Audit"
    package_file              = "tests/none.zip"
    tokens                    = ["the-token-itself"]
    bucket_name               = "my.google.bucket"
    prefix                    = "../audit/"
    gcs_options               = { key = "a b" }
    retention_days            = 0
    noncurrent_retention_days = 0
    kms_key_name              = "key"
    memory                    = "256M"
    timeout_s                 = 900
    max_instances             = 0
    ingress                   = "ALL"
    invokers                  = ["everybody"]
    build_service_account     = "build@example.com"
    elasticsearch_url         = "https://user:password@es.example.com"
    environment               = { THREADS = "1" }
    readers                   = ["allUsers"]
    notification_channels     = ["oncall"]
    silence_minutes           = 1
  }

  expect_failures = [
    var.project_id,
    var.region,
    var.name,
    var.package_file,
    var.tokens,
    var.bucket_name,
    var.prefix,
    var.gcs_options,
    var.retention_days,
    var.noncurrent_retention_days,
    var.kms_key_name,
    var.memory,
    var.timeout_s,
    var.max_instances,
    var.ingress,
    var.invokers,
    var.build_service_account,
    var.elasticsearch_url,
    var.environment,
    var.readers,
    var.notification_channels,
    var.silence_minutes,
  ]
}

run "what_goes_together" {
  command = plan

  variables {
    tokens            = []
    compact           = { schedule = "rate(1 hour)", older_than_hours = 0, memory = "512Mi" }
    concurrency       = 0
    min_instances     = 5
    elasticsearch_url = "elasticsearch+https://es.example.com:9200"
  }

  expect_failures = [var.tokens, var.compact, var.concurrency, var.min_instances, var.elasticsearch_api_key_secret]
}

run "more_requests_than_the_memory_holds" {
  command = plan

  variables {
    memory      = "512Mi"
    concurrency = 8
  }

  expect_failures = [var.concurrency]
}

run "more_memory_than_one_processor_gets" {
  command = plan

  variables {
    memory = "8Gi"
  }

  expect_failures = [var.memory]
}

run "the_most_memory" {
  command = plan

  variables {
    memory      = "4Gi"
    concurrency = 32
  }
}

run "a_reserved_name" {
  command = plan

  variables {
    environment = { K_SERVICE = "x" }
  }

  expect_failures = [var.environment]
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

run "an_hour_that_the_memory_does_not_hold" {
  command = plan

  variables {
    compact = { max_bytes = 256000000 }
  }

  expect_failures = [var.compact]
}

run "a_name_that_is_too_long_for_the_compactions_account" {
  command = plan

  variables {
    name    = "audit-of-all-our-clusters"
    compact = {}
  }

  expect_failures = [var.compact]
}
