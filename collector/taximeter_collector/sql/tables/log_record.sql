-- One row per log record received, as sent.
create table if not exists log_record (
    batch ubigint not null, received_at timestamptz not null,
    trace_id varchar, span_id varchar, event_name varchar, start_time timestamptz,
    severity_number integer, severity_text varchar, body varchar,
    scope_name varchar, scope_version varchar, service_name varchar,
    attributes map(varchar, varchar), resource_attributes map(varchar, varchar),
    content map(varchar, varchar), content_bytes bigint -- of attributes and body; leave before the rest
);
