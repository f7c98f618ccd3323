-- The rows of table `stored` with the id of a call or tool call in table `links`, without ids in table `reused`. A superset of what
-- derive/07_signals.sql (tool calls) and 21_twins.sql merge by id: widen it there, widen it here. Read is what lies around `link_time`.
create or replace macro same_key(links, stored, reused) as table
select trace_id, span_id, kind, link_key, end_time, prompt_tokens
from query_table(stored)
where link_key in (select link_key from query_table(links) except from query_table(reused))
    and start_time between getvariable('link_time').first - interval 1 day and getvariable('link_time').last + interval 1 day
    and (kind not in ('llm', 'embedding')  -- a tool call may wait for a day, for a human
        or end_time between getvariable('link_time').first - interval 10 minutes and getvariable('link_time').last + interval 10 minutes);
