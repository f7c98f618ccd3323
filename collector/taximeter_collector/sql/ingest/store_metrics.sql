insert into {day}.metric by name
with resource as (
    select resource, map_from_entries(list({k: key, v: stored_value}) filter (value is null or stored_value is not null)) as attributes,
        max(value) filter (key = 'service.name') as service_name
    from (select resource, key, first(value) as value, first(stored_value) as stored_value from in_resource_attribute group by all)
    group by resource
)
select $batch::ubigint as batch, $received_at::timestamptz as received_at,
    i.name, i.unit, i.metric_kind, i.stored_data as data, i.scope_name, i.scope_version, r.service_name,
    r.attributes as resource_attributes
from in_item i left join resource r using (resource);
