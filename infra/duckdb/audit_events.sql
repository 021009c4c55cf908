CREATE OR REPLACE VIEW audit_events AS
SELECT
  cluster,
  "user",
  dt,
  hour,
  json,
  json ->> '$.user.username' AS username,
  json ->> '$.impersonatedUser.username' AS impersonated,
  json ->> '$.verb' AS verb,
  json ->> '$.stage' AS stage,
  json ->> '$.objectRef.resource' AS resource,
  json ->> '$.objectRef.namespace' AS namespace,
  json ->> '$.objectRef.name' AS name,
  CAST(json ->> '$.responseStatus.code' AS INTEGER) AS code,
  json ->> '$.sourceIPs[0]' AS source_ip,
  json ->> '$.userAgent' AS user_agent,
  json ->> '$.requestURI' AS request_uri,
  CAST(json ->> '$.stageTimestamp' AS TIMESTAMP) AS "time"
FROM read_json_objects(
  's3://my-bucket/audit/cluster=*/**/*.jsonl.gz',
  format = 'newline_delimited',
  hive_partitioning = true,
  hive_types = {'cluster': VARCHAR, 'user': VARCHAR, 'dt': DATE, 'hour': INTEGER},
  ignore_errors = true
);
