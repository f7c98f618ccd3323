-- The traces that may hold another view of a call in table `links` under no common id, looked for in table `calls`. A superset of what
-- derive/18_late.sql and 21_twins.sql merge across traces: widen it there, widen it here. Read is what lies around variable `link_time`, in
-- which the links are. Each part starts from few rows on one side (calls without parent, length or usage), never from all calls of a service,
-- and reads only the columns that it needs.
create or replace macro linked_traces(links, calls) as table
with link as (
    select trace_id, dialect, kind, parent_span_id, response_id, service_name, scope_name, start_time, end_time, prompt_tokens
    from query_table(links) where kind in ('llm', 'embedding')
), near as not materialized (
    select trace_id, dialect, kind, parent_span_id, response_id, service_name, scope_name, start_time, end_time, prompt_tokens, is_lone
    from query_table(calls)
    where end_time >= getvariable('link_time').first - interval 10 minutes and start_time <= getvariable('link_time').last + interval 10 minutes
), beside as not materialized (
    select trace_id, dialect, kind, parent_span_id, response_id, service_name, scope_name, start_time, end_time, prompt_tokens, is_lone
    from query_table(calls)
    where end_time >= getvariable('link_time').first and start_time <= getvariable('link_time').last
), orphan as (  -- a call without a parent, on either side, and one that overlaps with it
    select l as link, c as near from link l join beside c on l.parent_span_id is null and c.service_name = l.service_name
        and c.kind = l.kind and coalesce(c.prompt_tokens, -1) = coalesce(l.prompt_tokens, -1) and c.scope_name <> l.scope_name
    union all
    select l, c from link l join beside c on c.is_lone and c.parent_span_id is null and c.service_name = l.service_name
        and c.kind = l.kind and coalesce(c.prompt_tokens, -1) = coalesce(l.prompt_tokens, -1) and c.scope_name <> l.scope_name
), late as (  -- a call told twice: a span that ends too early, and one of no length after it
    select l as early, c as late from link l join near c on l.start_time < l.end_time and l.prompt_tokens is null
        and c.is_lone and c.start_time = c.end_time and c.service_name = l.service_name and c.dialect = l.dialect
    union all
    select c, l from link l join near c on l.start_time = l.end_time and c.is_lone and c.prompt_tokens is null
        and c.start_time < c.end_time and c.service_name = l.service_name and c.dialect = l.dialect
)
select distinct near.trace_id
from orphan
where near.trace_id <> link.trace_id and (near.response_id is null or link.response_id is null)
    and near.start_time <= link.end_time and near.end_time >= link.start_time
union
select unnest([early.trace_id, late.trace_id])
from late
where early.trace_id <> late.trace_id and early.kind = 'llm' and late.kind = 'llm'
    and (early.parent_span_id is null or late.parent_span_id is null)
    and late.start_time between early.start_time and early.start_time + interval 10 minutes;
