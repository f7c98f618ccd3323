-- d_touched → d_context, d_reused: also the traces whose spans hold another view of their calls.
create or replace temp table d_reused as from rollup.reused_key;

create or replace temp view d_span_link as
select trace_id, span_id, dialect, signal, kind, parent_span_id, response_id, tool_call_id, session_id, service_name, start_time, end_time,
    prompt_tokens, scope_name, link_key(kind, response_id, tool_call_id) as link_key,
    is_lone(kind, parent_span_id, start_time, end_time, prompt_tokens) as is_lone
from span;

create or replace temp table d_link as
from d_span_link where trace_id in (select trace_id from d_touched)
    and (kind in ('llm', 'embedding', 'tool', 'agent') or session_id is not null);

set variable link_time = (select {'first': min(start_time), 'last': max(end_time)} from d_link);

create or replace temp table d_context as
from d_touched union select trace_id from same_key('d_link', 'd_span_link', 'd_reused')
union from linked_traces('d_link', 'd_span_link') union from linked_signals('d_link', 'd_span_link');
