create or replace view spans as
select trace_id, span_id, parent_span_id, name, kind, dialect, signal, service_name, service_version, environment,
    scope_name, scope_version, start_time, end_time, duration_ms, status, status_message, error_type, error_class,
    session_id, user_id, tenant, tags, agent_name, agent_version,
    case when content is null then attributes else map_concat(attributes, content) end as attributes, resource_attributes,
    list_transform(events, lambda e: {
        'time': timezone('UTC', make_timestamp((e."time" // 1000)::bigint)),
        'name': e."name", 'attributes': e.attributes}) as events,
    received_at, start_unix_nano, end_unix_nano,
    content_bytes, content is null and content_bytes > 0 as content_deleted
from shown_span;
