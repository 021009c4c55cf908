-- Questions about one user: reads that user's objects of the days and hours asked for, and no others.
CREATE EXTERNAL TABLE audit_events_by_user (
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
PARTITIONED BY (cluster string, `user` string, dt string, hour string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('case.insensitive' = 'true', 'mapping.who' = 'user', 'ignore.malformed.json' = 'true')
LOCATION 's3://my-bucket/audit/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.cluster.type' = 'injected',
  'projection.user.type' = 'injected',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2026-01-01,NOW+1DAY',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = 's3://my-bucket/audit/cluster=${cluster}/user=${user}/dt=${dt}/hour=${hour}/'
);
