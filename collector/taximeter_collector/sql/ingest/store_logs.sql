insert into {day}.log_record by name
with resource as (
    select resource, map_from_entries(list({k: key, v: stored_value}) filter (value is null or stored_value is not null)) as attributes,
        max(value) filter (key = 'service.name') as service_name
    from (select resource, key, first(value) as value, first(stored_value) as stored_value from in_resource_attribute group by all)
    group by resource
)
select $batch::ubigint as batch, $received_at::timestamptz as received_at,
    nullif(lower(hex(i.trace_id)), '') as trace_id, nullif(lower(hex(i.span_id)), '') as span_id,
    coalesce(nullif(i.event_name, ''), i.attributes['event.name']) as event_name,
    timezone('UTC', make_timestamp((coalesce(nullif(i."time", 0), i.observed_time) // 1000)::bigint)) as start_time,
    i.severity_number, i.stored_severity_text as severity_text, i.stored_body as body, i.scope_name, i.scope_version, r.service_name,
    i.kept_attributes as attributes, r.attributes as resource_attributes, i.content,
    nullif(coalesce(i.content_bytes, 0) + coalesce(strlen(i.stored_body), 0), 0) as content_bytes
from in_item i left join resource r using (resource);
