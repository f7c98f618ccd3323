-- $after, $last_batch, {span}: the commits to follow, and where their spans are → d_touched, the traces to derive again, and d_context, those to look at.
-- Touched: with new spans, or with another view of their calls, as these were and as they are now: whose call is
-- billed may change there. Context: also what holds another view of the calls of a touched trace.
-- History is read by time only (variables are constants to the planner), so that a step reads little more of a long one than of a short one.
create or replace temp table d_changed as
select distinct trace_id from {span} where batch > $after and batch <= $last_batch;

set variable stored_time = (select rows_between from stored_times('d_changed', 'rollup.request', 'rollup.aside'));

create or replace temp table d_link as
select trace_id, span_id, dialect, signal, kind, parent_span_id, response_id, tool_call_id, session_id, service_name, start_time, end_time,
    prompt_tokens, scope_name, link_key(kind, response_id, tool_call_id) as link_key,
    is_lone(kind, parent_span_id, start_time, end_time, prompt_tokens) as is_lone
from {span} where batch > $after and batch <= $last_batch
    and (kind in ('llm', 'embedding', 'tool', 'agent') or session_id is not null)
union all by name
from rollup.call_link
where trace_id in (select trace_id from d_changed)
    and start_time between getvariable('stored_time').first and getvariable('stored_time').last;

set variable link_time = (select {'first': min(start_time), 'last': max(end_time)} from d_link);

create or replace temp table d_keyed as from same_key('d_link', 'rollup.call_link', 'rollup.reused_key');

-- An id that so many calls share within ten minutes, or tool calls within a day, is given anew: nothing is one call because of it.
-- Who waits for an answer that is made in the background asks for it often, and is told no usage until it is there.
create or replace temp table d_reused as
from rollup.reused_key
union
select link_key
from (
    select link_key, kind in ('llm', 'embedding') as is_call, count(*) over minutes as calls, count(prompt_tokens) over minutes as calls_with_usage,
        count(*) over a_day as tool_calls
    from (from d_keyed union select trace_id, span_id, kind, link_key, end_time, prompt_tokens from d_link where link_key is not null)
    window minutes as (partition by link_key order by end_time range between interval 10 minutes preceding and current row),
        a_day as (partition by link_key order by end_time range between interval 1 day preceding and current row)
)
where case when is_call then calls_with_usage > 32 or calls > 1000 else tool_calls > 32 end;

create or replace temp table d_touched as
from d_changed union select trace_id from d_keyed union from linked_traces('d_link', 'rollup.call_link') union from linked_signals('d_link', 'rollup.call_link');

create or replace temp table d_linked as from d_touched except from d_changed;

create or replace temp table d_context as from d_touched;
