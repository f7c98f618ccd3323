-- Replace the touched traces' rows; runs inside one transaction on the roll-up file.
delete from rollup.call where trace_id in (select trace_id from d_touched);
delete from rollup.tool_call where trace_id in (select trace_id from d_touched);
delete from rollup.agent_run where trace_id in (select trace_id from d_touched);
delete from rollup.request where request_id in (select trace_id from d_touched);
delete from rollup.aside where trace_id in (select trace_id from d_touched);
insert into rollup.aside by name from d_aside;
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
insert into rollup.tool_call by name select {tool_call_columns} from d_tool;
insert into rollup.agent_run by name select {agent_run_columns} from d_run;
insert into rollup.request by name select {request_columns} from d_request;
delete from rollup.usage_minute where minute in (select minute from d_minute);
