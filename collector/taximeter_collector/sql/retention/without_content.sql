-- One piece of a day (batches $first to $last) → the day's new file, without what agents say. $keys fits keys of content
-- (RE2). Rows of an older format, and events, still have content among their attributes.
insert into {new}.span by name
select * exclude (attributes, events, content, content_bytes),
    map_from_entries(list_filter(map_entries(attributes),
        lambda e: not regexp_full_match(e.key, $keys) and coalesce(strlen(e.value), 0) <= $long)) as attributes,
    list_transform(events, lambda v: {'time': v."time", 'name': v."name", 'attributes':
        map_from_entries(list_filter(map_entries(v.attributes),
            lambda e: not regexp_full_match(e.key, $keys) and coalesce(strlen(e.value), 0) <= $long))}) as events,
    null as content,
    nullif(coalesce(content_bytes, 0)
        + coalesce(list_sum(list_transform(map_entries(attributes), lambda e:
            case when regexp_full_match(e.key, $keys) or strlen(e.value) > $long then strlen(e.value) end)), 0)
        + coalesce(list_sum(list_transform(events, lambda v:
            list_sum(list_transform(map_entries(v.attributes), lambda e:
                case when regexp_full_match(e.key, $keys) or strlen(e.value) > $long then strlen(e.value) end)))), 0),
        0)::bigint as content_bytes
from {old}.span where batch between $first and $last;

insert into {new}.log_record by name
select * exclude (body, attributes, content, content_bytes), null as body, null as content,
    map_from_entries(list_filter(map_entries(attributes),
        lambda e: not regexp_full_match(e.key, $keys) and coalesce(strlen(e.value), 0) <= $long)) as attributes,
    coalesce(content_bytes, nullif(coalesce(strlen(body), 0)
        + coalesce(list_sum(list_transform(map_entries(attributes), lambda e:
            case when regexp_full_match(e.key, $keys) or strlen(e.value) > $long then strlen(e.value) end)), 0), 0))::bigint
        as content_bytes
from {old}.log_record where batch between $first and $last;

insert into {new}.metric by name from {old}.metric where batch between $first and $last;

insert into {new}.export_request by name from {old}.export_request where batch between $first and $last;
