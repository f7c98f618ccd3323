-- Log events name no parent, or one that was never sent: a sub-agent's call and a tool go below the sub-agent
-- that runs at the time, everything else below the last turn (user prompt) before it.
create or replace temp table d_turn as
select trace_id, span_id, start_unix_nano, end_unix_nano, end_unix_nano > start_unix_nano as is_sub_agent
from d_span where signal = 'log' and kind = 'agent';

create or replace temp table d_orphan as
select trace_id, span_id, kind, coalesce(is_side, false) as is_side, start_unix_nano, end_unix_nano
from d_span s
where signal = 'log' and not exists (from d_span p where p.trace_id = s.trace_id and p.span_id = s.parent_span_id)
    and (trace_id, span_id) not in (select (trace_id, span_id) from d_turn where not is_sub_agent);

update d_span set parent_span_id = found.parent_span_id
from (
    select o.trace_id, o.span_id, coalesce(
        arg_max(t.span_id, t.start_unix_nano) filter (t.is_sub_agent and (o.is_side or o.kind = 'tool')
            and t.start_unix_nano <= o.start_unix_nano and t.end_unix_nano >= o.end_unix_nano),
        case when not o.is_side then coalesce(
            arg_max(t.span_id, t.start_unix_nano) filter (not t.is_sub_agent and t.start_unix_nano <= o.start_unix_nano),
            arg_min(t.span_id, t.start_unix_nano) filter (not t.is_sub_agent)) end) as parent_span_id
    from d_orphan o left join d_turn t on t.trace_id = o.trace_id and t.span_id <> o.span_id
    group by o.trace_id, o.span_id, o.is_side
) as found
where d_span.trace_id = found.trace_id and d_span.span_id = found.span_id;

-- A turn lasts until the last thing below it is over.
update d_span set end_unix_nano = below.end_unix_nano, end_time = below.end_time,
    duration_ms = (below.end_unix_nano::hugeint - d_span.start_unix_nano::hugeint) / 1e6
from (
    select t.trace_id, t.span_id, max(s.end_unix_nano) as end_unix_nano, max(s.end_time) as end_time
    from d_turn t join d_span s on s.trace_id = t.trace_id and s.parent_span_id = t.span_id
    where not t.is_sub_agent group by all
) as below
where d_span.trace_id = below.trace_id and d_span.span_id = below.span_id and d_span.signal = 'log';

-- A call whose event states no duration began with the HTTP request before it, where that has an event (kind other).
update d_span set start_unix_nano = begun.start_unix_nano, start_time = begun.start_time,
    duration_ms = (d_span.end_unix_nano::hugeint - begun.start_unix_nano::hugeint) / 1e6
from (
    select c.trace_id, c.span_id, max(b.start_unix_nano) as start_unix_nano, max(b.start_time) as start_time
    from d_span c join d_span b on b.trace_id = c.trace_id and b.signal = 'log' and b.kind = 'other'
        and b.start_unix_nano <= c.end_unix_nano
    where c.signal = 'log' and c.kind = 'llm' and c.has_usage and c.start_unix_nano = c.end_unix_nano
    group by all
) as begun
where d_span.trace_id = begun.trace_id and d_span.span_id = begun.span_id;
