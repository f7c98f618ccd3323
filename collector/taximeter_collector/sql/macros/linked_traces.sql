-- The traces that may hold another view of a call in table `links`, looked for in table `calls`. A superset of what
-- derive/18_late.sql and 21_twins.sql merge across traces: widen it there, widen it here. Read is what lies around variable `link_time`, in
-- which the links are; each part starts from the few rows that can have such a view (no parent, no length), never from all
-- calls of a service.
create or replace macro linked_traces(links, calls) as table
with link as (
    select trace_id, dialect, kind, parent_span_id, response_id, service_name, scope_name, start_time, end_time, prompt_tokens
    from query_table(links) where kind in ('llm', 'embedding')
), near as (
    select trace_id, dialect, kind, parent_span_id, response_id, service_name, scope_name, start_time, end_time, prompt_tokens
    from query_table(calls)
    where kind in ('llm', 'embedding') and end_time >= getvariable('link_time').first - interval 10 minutes
        and start_time <= getvariable('link_time').last + interval 10 minutes
), orphan as (  -- a call without a parent, on either side
    select l as link, c as near from link l join near c on l.parent_span_id is null and c.service_name = l.service_name
        and c.kind = l.kind and coalesce(c.prompt_tokens, -1) = coalesce(l.prompt_tokens, -1) and c.scope_name <> l.scope_name
    union all
    select l, c from link l join near c on c.parent_span_id is null and c.service_name = l.service_name
        and c.kind = l.kind and coalesce(c.prompt_tokens, -1) = coalesce(l.prompt_tokens, -1) and c.scope_name <> l.scope_name
), late as (  -- a call told twice: a span that ends too early, and one of no length after it
    select l as early, c as late from link l join near c on l.start_time < l.end_time and l.prompt_tokens is null
        and c.start_time = c.end_time and c.service_name = l.service_name and c.dialect = l.dialect
    union all
    select c, l from link l join near c on l.start_time = l.end_time and c.prompt_tokens is null
        and c.start_time < c.end_time and c.service_name = l.service_name and c.dialect = l.dialect
)
select distinct c.trace_id
from link l join near c on c.response_id = l.response_id and c.kind = l.kind and c.trace_id <> l.trace_id
where c.end_time between l.end_time - interval 10 minutes and l.end_time + interval 10 minutes
union
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
