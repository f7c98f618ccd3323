-- Replace the touched traces' rows; runs inside one transaction on the roll-up file.
delete from rollup.call where trace_id in (select trace_id from d_touched)
    and start_time between getvariable('stored_time').first and getvariable('stored_time').last;
delete from rollup.call_link where trace_id in (select trace_id from d_touched)
    and start_time between getvariable('stored_time').first and getvariable('stored_time').last;
delete from rollup.tool_call where trace_id in (select trace_id from d_touched)
    and start_time between getvariable('stored_time').first and getvariable('stored_time').last;
delete from rollup.agent_run where trace_id in (select trace_id from d_touched)
    and start_time between getvariable('stored_time').first and getvariable('stored_time').last;
delete from rollup.request where request_id in (select trace_id from d_touched);
delete from rollup.aside where trace_id in (select trace_id from d_touched);
create or replace temp table d_times as
select trace_id, min(start_time) as first_time, max(start_time) as last_time
from (
    select trace_id, start_time from d_span union all select trace_id, start_time from d_told
    union all select trace_id, start_time from d_priced union all select trace_id, start_time from d_tool union all select trace_id, start_time from d_run
) group by trace_id;
insert into rollup.aside by name select * from d_aside left join d_times using (trace_id);
insert into rollup.call by name
select {call_columns}
from (
    select p.*, coalesce(a.is_retry, false) as is_retry, coalesce(a.is_last_attempt, true) as is_last_attempt,
        coalesce(a.unseen_attempts, 0) as unseen_attempts, coalesce(d.is_decision, false) as is_decision, f.finish_class
    from d_priced p
    left join d_attempt a using (trace_id, span_id)
    left join d_answer d using (trace_id, span_id)
    left join d_finish f using (finish_reason)
);
insert into rollup.call_link by name
select trace_id, span_id, dialect, signal, parent_span_id, kind, response_id, tool_call_id, coalesce(s.session_id, t.session_id) as session_id, s.service_name,
    s.start_time, s.end_time, prompt_tokens, s.scope_name, link_key(kind, response_id, tool_call_id) as link_key,
    is_lone(kind, parent_span_id, s.start_time, s.end_time, prompt_tokens) as is_lone
from (select * from d_span where (trace_id, span_id) not in (select (trace_id, span_id) from d_told)
      union all by name select * exclude (reason, kept_trace_id, kept_span_id) from d_told) s
left join (select trace_id, session_id from d_trace) t using (trace_id)
where kind in ('llm', 'embedding', 'tool', 'agent');
insert into rollup.tool_call by name select {tool_call_columns} from d_tool;
insert into rollup.agent_run by name select {agent_run_columns} from d_run;
insert into rollup.request by name
select {request_columns} from d_request left join d_times on d_times.trace_id = d_request.request_id;
delete from rollup.usage_minute where minute in (select minute from d_minute);
