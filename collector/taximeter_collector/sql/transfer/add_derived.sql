-- Derived rows of the traces in t_trace. A trace whose first spans do not come has no batch here: 0 is before all that is kept.
insert into rollup.request by name
select t.* replace (coalesce(b.new_batch, 0)::ubigint as first_batch)
from t_request t left join t_batch b on b.batch = t.first_batch
where request_id in (select trace_id from t_trace);

insert into rollup.aside by name
select t.* replace (coalesce(b.new_batch, 0)::ubigint as first_batch)
from t_aside t left join t_batch b on b.batch = t.first_batch
where trace_id in (select trace_id from t_trace);

insert into rollup.call by name from t_call where trace_id in (select trace_id from t_trace);
insert into rollup.call_link by name  -- an older export lacks the last two
select * replace (link_key(kind, response_id, tool_call_id) as link_key,
    is_lone(kind, parent_span_id, start_time, end_time, prompt_tokens) as is_lone)
from t_call_link where trace_id in (select trace_id from t_trace);
insert into rollup.tool_call by name from t_tool_call where trace_id in (select trace_id from t_trace);
insert into rollup.agent_run by name from t_agent_run where trace_id in (select trace_id from t_trace);

update rollup.progress set kept_from_batch = greatest(coalesce(kept_from_batch, 0), 1);
