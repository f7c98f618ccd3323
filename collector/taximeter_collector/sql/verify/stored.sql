-- What is stored of a window, $from to $to, at one moment → v_trace (which traces), v_beyond, v_stored_*, v_stored_row.

-- Every trace with a span or a stored row in the window.
create or replace temp table v_trace as
select trace_id from span where start_time >= $from and start_time < $to and batch <= $last_batch
union select request_id from rollup.request where start_time >= $from and start_time < $to
union select trace_id from rollup.call where start_time >= $from and start_time < $to
union select trace_id from rollup.tool_call where start_time >= $from and start_time < $to
union select trace_id from rollup.agent_run where start_time >= $from and start_time < $to;

-- Those whose first spans are no longer kept can't be computed again.
create or replace temp table v_beyond as
select request_id as trace_id from rollup.request
where request_id in (select trace_id from v_trace) and first_batch < coalesce((select min(batch) from span), first_batch + 1);

create or replace temp table v_stored_request as
from rollup.request where request_id in (select trace_id from v_trace);
create or replace temp table v_stored_call as
from rollup.call where trace_id in (select trace_id from v_trace);
create or replace temp table v_stored_call_link as
from rollup.call_link where trace_id in (select trace_id from v_trace);
create or replace temp table v_stored_tool_call as
from rollup.tool_call where trace_id in (select trace_id from v_trace);
create or replace temp table v_stored_agent_run as
from rollup.agent_run where trace_id in (select trace_id from v_trace);
create or replace temp table v_stored_usage_minute as
from rollup.usage_minute where minute >= $from and minute < $to;

-- In which minutes each trace has rows.
create or replace temp table v_stored_row as
select request_id as trace_id, start_time from v_stored_request
union all select trace_id, start_time from v_stored_call
union all select trace_id, start_time from v_stored_tool_call;
