-- One row per metric received; its data points stay as the protobuf bytes that were sent.
create table if not exists metric (
    batch ubigint not null, received_at timestamptz not null,
    name varchar, unit varchar, metric_kind varchar, data blob,
    scope_name varchar, scope_version varchar, service_name varchar,
    resource_attributes map(varchar, varchar)
);
