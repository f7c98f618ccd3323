-- The traces to derive again: those with new spans, and those that may hold another view of the same calls
-- (the same response id; or, between calls without a parent, the same service and time).
create or replace temp table d_touched as
with fresh as (
    select distinct trace_id, response_id, parent_span_id is null and kind in ('llm', 'embedding') as is_root_call,
        service_name, start_time, end_time
    from span where batch > $after and batch <= $last_batch
)
select distinct trace_id from fresh
union
select c.trace_id from rollup.call c
where c.response_id in (select response_id from fresh)
    and c.start_time >= (select min(start_time) - interval 10 minutes from fresh where response_id is not null)
union
select c.trace_id
from rollup.call c join fresh f
    on f.is_root_call and c.parent_span_id is null and c.service_name = f.service_name
    and c.trace_id <> f.trace_id and c.start_time <= f.end_time and c.end_time >= f.start_time
    and (c.response_id is null or f.response_id is null);
