-- n_pick → n_typed, n_exclusive, n_error: values as numbers, kinds, errors.

create or replace temp table n_exception as
select "row", list_filter(events, lambda e: e.name = 'exception')[1].attributes['exception.type'] as exception_type
from in_span where len(events) > 0;

create or replace temp table n_typed as
select s."row", s.scope_name, s.scope_version, d.dialect, p.* exclude ("row"),
    coalesce(k.kind, case when p.tool_name is not null then 'tool'
        when d.dialect <> 'other' and p.request_model is not null and p.stated_input is not null then 'llm'
        else 'other' end) as kind_found,
    try_cast(p.stated_input as bigint) as i, try_cast(p.stated_output as bigint) as o,
    try_cast(p.cache_read as bigint) as r,
    try_cast(p.cache_write as bigint) as w, coalesce(try_cast(p.cache_write_long as bigint), 0) as l,
    coalesce(try_cast(p.audio_input as bigint), 0) as ai, coalesce(try_cast(p.image_input as bigint), 0) as ii,
    coalesce(try_cast(p.audio_output as bigint), 0) as ao, coalesce(try_cast(p.image_output as bigint), 0) as io,
    coalesce(r, 0) + coalesce(w, l) as cached,
    cached > coalesce(i, 0)
        or (cached > 0 and try_cast(p.reported_total as bigint) = i + cached + o) as breaks_inclusive,
    coalesce(p.error_type, p.exception_type, p.http_status) as error_type_found,
    (s.status_code = 2 or p.error_type is not null or p.success = 'false'
        or p.error_level = 'ERROR' or p.tool_status = 'error') is true as failed
from in_span s
join n_dialect d using ("row")
left join n_kind k using ("row")
left join (select n_pick.*, x.exception_type from n_pick full join n_exception x using ("row")) p using ("row");

-- Who leaves cached tokens out of "input": by emitter, version and provider (semantics: input basis).
create or replace temp table n_exclusive as
select seen.*, min(rule.rank) as rank
from (select distinct scope_name, scope_version, provider_raw from n_typed) as seen
join exclusive_rule as rule
    on seen.scope_name glob rule.scope
    and (rule.provider = '*' or lower(seen.provider_raw) glob rule.provider)
    and (rule.version_up_to is null or list_slice(
        regexp_extract_all(seen.scope_version, '\d+')::int[], 1,
        len(regexp_extract_all(rule.version_up_to, '\d+'))) <= regexp_extract_all(rule.version_up_to, '\d+')::int[])
group by all;

create or replace temp table n_error as
select seen.error_type_found, arg_min(rule.error_class, rule.rank) as error_class
from (select distinct unnest([error_type_found, http_status]) as error_type_found from n_typed where failed) as seen
join error_rule as rule on lower(seen.error_type_found) glob rule.pattern
group by all;
