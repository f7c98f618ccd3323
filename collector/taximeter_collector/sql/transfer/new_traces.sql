-- t_<table> (the other store's derived rows) → t_trace: those that are not here; t_minute: where their rows count.
create or replace temp table t_trace as
select trace_id from (select request_id as trace_id from t_request union select trace_id from t_aside)
where trace_id not in (select request_id from rollup.request) and trace_id not in (select trace_id from rollup.aside);

create or replace temp table t_minute as
select distinct date_trunc('minute', start_time) as minute
from (select request_id as trace_id, start_time from t_request
    union all select trace_id, start_time from t_call union all select trace_id, start_time from t_tool_call)
where trace_id in (select trace_id from t_trace) and start_time is not null;
