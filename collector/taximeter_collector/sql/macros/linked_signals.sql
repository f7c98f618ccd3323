-- The traces that may hold what another signal tells of the calls and tools in table `links`, looked for in table
-- `stored`: of the same session, the same service and time, or a program that an agent ran at that time. A superset of what
-- derive/07_signals.sql and 09_metrics.sql merge: widen it there, widen it here. Read is what lies around `link_time`.
create or replace macro linked_signals(links, stored) as table
select distinct c.trace_id
from query_table(stored) c
join (select distinct session_id, signal from query_table(links) where session_id is not null) l
    on c.session_id = l.session_id and c.signal <> l.signal
where c.start_time between getvariable('link_time').first - interval 1 day and getvariable('link_time').last + interval 1 day
union
select distinct c.trace_id
from query_table(stored) c
join (
    select service_name, signal, bool_or(session_id is null) as is_sessionless,
        min(start_time) - interval 1 minute as first, max(end_time) + interval 1 minute as last
    from query_table(links) group by service_name, signal, date_trunc('minute', start_time)
) l on c.service_name = l.service_name and c.signal <> l.signal and (c.session_id is null or l.is_sessionless)
    and c.start_time <= l.last and c.end_time >= l.first
where (c.signal <> 'span' or (select bool_or(signal <> 'span') from query_table(links)))
    and c.start_time <= getvariable('link_time').last + interval 1 minute and c.end_time >= getvariable('link_time').first - interval 1 minute
union
select distinct c.trace_id
from query_table(stored) c
join nested_rule n on c.dialect in (n.dialect, n.inner)
join query_table(links) l on l.dialect = case c.dialect when n.inner then n.dialect else n.inner end
    and c.start_time <= l.end_time + interval 1 second and c.end_time >= l.start_time - interval 1 second
where c.kind in ('agent', 'llm') and l.kind in ('agent', 'llm')
    and c.start_time <= getvariable('link_time').last + interval 1 minute and c.end_time >= getvariable('link_time').first - interval 1 minute;
