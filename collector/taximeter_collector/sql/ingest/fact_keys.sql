-- Attributes whose whole value is a fact: what the rules read, but for what agents say and for JSON that is looked into.
with content as (
    select key, split_part(key, ':', 2) as event_key from attribute_mapping
    where list_contains(['tool_args', 'tool_result', 'usage_raw'], column_name)
), read as (
    select key from attribute_mapping where path is null or path = '$'
    union select split_part(key, ':', 2) from attribute_mapping where path is null and key like '%:%'
    union select key from kind_rule where value <> '*' and key <> 'span.name'
    union select key from output_limit where path is null
    union select needs from event_rule where value is not null
    union select unnest([starts, ends, duration, side]) from event_rule
    union select unnest(string_split(request, '|')) from event_rule
    union select unnest([type_key, attribute]) from metric_rule
    union select unnest(['service.name', 'service.version', 'service.namespace', 'deployment.environment',
        'deployment.environment.name', 'event.name', 'exception.type', 'gen_ai.token.modality'])
)
select key from read
where key is not null and key not in (select unnest([key, event_key]) from content)
    and not exists (from input_key where read.key glob input_key.pattern)
union select 'taximeter.input_hash';
