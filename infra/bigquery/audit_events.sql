CREATE OR REPLACE EXTERNAL TABLE audit.audit_events (
  level STRING,
  auditID STRING,
  stage STRING,
  requestURI STRING,
  verb STRING,
  user STRUCT<username STRING, uid STRING, groups ARRAY<STRING>>,
  impersonatedUser STRUCT<username STRING, uid STRING, groups ARRAY<STRING>>,
  sourceIPs ARRAY<STRING>,
  userAgent STRING,
  objectRef STRUCT<resource STRING, namespace STRING, name STRING, subresource STRING, apiGroup STRING, apiVersion STRING>,
  responseStatus STRUCT<code INT64, reason STRING, message STRING>,
  requestReceivedTimestamp TIMESTAMP,
  stageTimestamp TIMESTAMP
)
WITH PARTITION COLUMNS (cluster STRING, username STRING, dt DATE, hour INT64)
OPTIONS (
  format = 'NEWLINE_DELIMITED_JSON',
  compression = 'GZIP',
  uris = ['gs://my-bucket/audit/cluster=*'],
  hive_partition_uri_prefix = 'gs://my-bucket/audit',
  require_hive_partition_filter = TRUE,
  ignore_unknown_values = TRUE,
  max_bad_records = 1000000
);
