-- The minutes of the window, $from to $to, that have rows, stored or computed → d_minute; v_unsure_minute: those that
-- can't be compared, because a call in them was priced by other prices or a trace in them is no longer whole.
create or replace temp table v_repriced as
select s.trace_id, s.span_id
from v_stored_call s join v_call c using (trace_id, span_id)
where s.price_version is distinct from c.price_version;

create or replace temp table v_row as
from v_stored_row
union all select request_id, start_time from v_request
union all select trace_id, start_time from v_call
union all select trace_id, start_time from v_tool_call;

create or replace temp table d_minute as
select distinct date_trunc('minute', start_time) as minute from v_row where start_time >= $from and start_time < $to
union select minute from v_stored_usage_minute;

create or replace temp table v_unsure_minute as
select distinct date_trunc('minute', start_time) as minute from v_row
where trace_id in (select trace_id from v_repriced union select trace_id from v_beyond);
