-- Questions over all users of a cluster: reads all of the cluster's objects.
CREATE EXTERNAL TABLE audit_events (
  level string,
  auditid string,
  stage string,
  requesturi string,
  verb string,
  who struct<username:string, uid:string, groups:array<string>>,
  impersonateduser struct<username:string, uid:string, groups:array<string>>,
  sourceips array<string>,
  useragent string,
  objectref struct<resource:string, namespace:string, name:string, subresource:string, apigroup:string, apiversion:string>,
  responsestatus struct<code:int, reason:string, message:string>,
  requestreceivedtimestamp string,
  stagetimestamp string,
  annotations map<string, string>
)
PARTITIONED BY (cluster string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('case.insensitive' = 'true', 'mapping.who' = 'user', 'ignore.malformed.json' = 'true')
LOCATION 's3://my-bucket/audit/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.cluster.type' = 'injected',
  'storage.location.template' = 's3://my-bucket/audit/cluster=${cluster}/'
);
