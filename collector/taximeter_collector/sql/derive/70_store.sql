-- Replace the touched traces' rows; runs inside one transaction on the roll-up file.
delete from rollup.call where trace_id in (select trace_id from d_touched);
delete from rollup.tool_call where trace_id in (select trace_id from d_touched);
delete from rollup.agent_run where trace_id in (select trace_id from d_touched);
delete from rollup.request where request_id in (select trace_id from d_touched);
insert into rollup.call by name
select {call_columns}
from (select p.*, coalesce(a.is_retry, false) as is_retry from d_priced p left join d_attempt a using (trace_id, span_id));
insert into rollup.tool_call by name select {tool_call_columns} from d_tool;
insert into rollup.agent_run by name from d_run;
insert into rollup.request by name from d_request;
delete from rollup.usage_minute where minute in (select minute from d_minute);
