-- The traces that may hold another view of a call in table `links`, looked for in table `calls`. A superset of what
-- derive/20_billed.sql merges across traces: widen it there, widen it here. Each part starts from the few rows that can
-- have such a view (no parent, no length), never from all calls of a service, and reads what lies
-- around variable `link_time`, in which the links are.
create or replace macro linked_traces(links, calls) as table
select distinct c.trace_id
from query_table(links) l
join query_table(calls) c on c.response_id = l.response_id and c.kind = l.kind and c.trace_id <> l.trace_id
where l.kind in ('llm', 'embedding')
    and c.end_time >= getvariable('link_time').first - interval 10 minutes and c.start_time <= getvariable('link_time').last + interval 10 minutes
    and c.end_time between l.end_time - interval 10 minutes and l.end_time + interval 10 minutes
union
select distinct c.trace_id
from query_table(links) l
join query_table(calls) c on c.service_name = l.service_name and c.kind = l.kind and c.trace_id <> l.trace_id
    and c.scope_name <> l.scope_name and coalesce(c.prompt_tokens, -1) = coalesce(l.prompt_tokens, -1)
where l.kind in ('llm', 'embedding') and l.parent_span_id is null
    and c.end_time >= getvariable('link_time').first - interval 10 minutes and c.start_time <= getvariable('link_time').last + interval 10 minutes
    and (c.response_id is null or l.response_id is null)
    and c.start_time <= l.end_time and c.end_time >= l.start_time
union
select distinct c.trace_id
from query_table(links) l
join query_table(calls) c on c.service_name = l.service_name and c.kind = l.kind and c.trace_id <> l.trace_id
    and c.scope_name <> l.scope_name and coalesce(c.prompt_tokens, -1) = coalesce(l.prompt_tokens, -1)
where l.kind in ('llm', 'embedding') and c.parent_span_id is null
    and c.end_time >= getvariable('link_time').first - interval 10 minutes and c.start_time <= getvariable('link_time').last + interval 10 minutes
    and (c.response_id is null or l.response_id is null)
    and c.start_time <= l.end_time and c.end_time >= l.start_time
union
select distinct c.trace_id
from query_table(links) l
join query_table(calls) c on c.service_name = l.service_name and c.kind = l.kind and c.dialect = l.dialect and c.trace_id <> l.trace_id
where l.kind = 'llm' and (l.parent_span_id is null or c.parent_span_id is null)
    and c.end_time >= getvariable('link_time').first - interval 10 minutes and c.start_time <= getvariable('link_time').last + interval 10 minutes
    and l.start_time = l.end_time and c.start_time < c.end_time and c.prompt_tokens is null
    and c.start_time between l.start_time - interval 10 minutes and l.start_time
union
select distinct c.trace_id
from query_table(links) l
join query_table(calls) c on c.service_name = l.service_name and c.kind = l.kind and c.dialect = l.dialect and c.trace_id <> l.trace_id
where l.kind = 'llm' and (l.parent_span_id is null or c.parent_span_id is null)
    and c.end_time >= getvariable('link_time').first - interval 10 minutes and c.start_time <= getvariable('link_time').last + interval 10 minutes
    and c.start_time = c.end_time and l.start_time < l.end_time and l.prompt_tokens is null
    and c.start_time between l.start_time and l.start_time + interval 10 minutes;
