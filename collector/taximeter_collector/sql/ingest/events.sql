-- Log records (in_item) that tell of a call, a tool or a turn → n_told, by event_rule.
create or replace temp table n_event as
with named as (
    select "row", coalesce(scope_name, '') as scope_name, attributes,
        coalesce(attributes['event.name'], nullif(event_name, '')) as event
    from in_item
), fit as (
    select seen.*, rule.*
    from (select distinct scope_name as seen_scope, event as seen_event from named) as seen
    join event_rule as rule on seen_scope glob rule.scope and seen_event glob rule.event
)
select n."row", fit.*
from named n join fit on fit.seen_scope = n.scope_name and fit.seen_event = n.event
where fit.needs is null or (n.attributes[fit.needs] is not null and coalesce(fit.value = n.attributes[fit.needs], true))
qualify row_number() over (partition by n."row" order by fit.rank) = 1;

-- Ids: the record's own trace where the rule trusts it, else one made of the prompt, session or conversation;
-- what the record says makes its span id, so that a record sent again is the same row.
create or replace temp table n_told as
with read as (
    select i.*, e.kind as given_kind, e.name as given_name, e.status as given_status,
        e.in_trace = 'true' and octet_length(i.trace_id) = 16 and octet_length(i.span_id) = 8 as is_in_trace,
        regexp_replace(list_filter(list_transform(string_split(e.request, '|'), lambda k: i.attributes[k]),
            lambda v: v is not null)[1], '^([^#]+)#[0-9]+$', '\1') as request_value,
        md5(concat_ws(chr(31), i."time", i.observed_time, i.event_name, i.scope_name, hex(i.span_id), i.attributes::varchar)) as identity,
        coalesce((try_cast(i.attributes[e.ends] as double) * 1e6)::ubigint, nullif(i."time", 0), i.observed_time) as ends,
        try_cast(i.attributes[e.starts] as double) as starts_ms, try_cast(i.attributes[e.duration] as double) as lasted_ms,
        e.side is not null and coalesce(len(list_filter(string_split(e.side_value, '|'), lambda g: i.attributes[e.side] glob g)) > 0, false) as is_side
    from in_item i join n_event e using ("row") where e.kind is not null
)
select "row", request, resource, scope_name, scope_version,
    case when is_in_trace then trace_id else unhex(md5(coalesce(request_value, identity))) end as trace_id,
    case when is_in_trace and given_kind = 'agent' and lasted_ms is null then span_id else unhex(identity[:16]) end as span_id,
    case when is_in_trace and (given_kind <> 'agent' or lasted_ms is not null) then span_id else ''::blob end as parent_span_id,
    coalesce(given_name, event_name) as name, 0 as kind,
    coalesce((starts_ms * 1e6)::ubigint, greatest(ends::hugeint - (coalesce(lasted_ms, 0) * 1e6)::hugeint, 0)::ubigint) as start_time,
    ends as end_time, attributes, kept_attributes, content, content_bytes, null::struct("time" ubigint, "name" varchar, attributes map(varchar, varchar))[] as events,
    case when given_status = 'error' then 2 else 0 end as status_code, '' as status_message,
    coalesce(given_name, event_name) as stored_name, '' as stored_status_message, stored_attributes,
    null::struct("time" ubigint, "name" varchar, attributes map(varchar, varchar))[] as stored_events,
    'log' as signal, given_kind, is_side, null::boolean as is_cumulative,
    nullif(lower(hex(span_id)), '') as linked_span_id
from read;
