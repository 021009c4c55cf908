CREATE OR REPLACE VIEW audit_files AS
SELECT
  'default' AS cluster,
  regexp_extract(filename, '/kube-audit-([^/]+)/audit[^/]*$', 1) AS "user",
  CAST(json ->> '$.stageTimestamp' AS DATE) AS dt,
  CAST(substr(json ->> '$.stageTimestamp', 12, 2) AS INTEGER) AS hour,
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
  'var/log/kube-audit-*/audit*',
  format = 'newline_delimited',
  filename = true,
  ignore_errors = true
);
