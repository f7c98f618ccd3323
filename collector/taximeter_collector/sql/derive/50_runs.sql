-- Agent invocations and requests → d_run, d_request.

-- A call is a retry when it says so, or follows a failed sibling of the same model within two minutes.
create or replace temp table d_attempt as
select trace_id, span_id, attempt > 1 or coalesce(
    lag(status) over siblings = 'error' and kind = lag(kind) over siblings
    and epoch(start_time) - epoch(lag(end_time) over siblings) between -0.001 and 120, false) as is_retry
from d_priced where is_billed
window siblings as (partition by trace_id, parent_span_id, request_model order by start_unix_nano, span_id);

-- The model call that asked for each repeated tool call: the last one of the same run before it.
create or replace temp table d_thrash as
select trace_id, agent_span_id, sum(cost_pico) as thrash_cost_pico
from (
    select distinct c.trace_id, c.agent_span_id, c.span_id, c.cost_pico
    from d_tool t asof join (select * from d_priced where is_billed and kind = 'llm') c
        on c.trace_id = t.trace_id and c.agent_span_id is not distinct from t.agent_span_id
        and t.start_unix_nano >= c.start_unix_nano
    where t.is_repeat
) group by all;

create or replace temp table d_run_call as
select p.trace_id, p.agent_span_id,
    count(*) filter (p.kind = 'llm' and not a.is_retry and not p.is_aggregate)::integer as iterations,
    count(*)::integer as model_calls, sum(p.cost_pico) as own_cost_pico,
    count(*) filter (p.cost_pico is null) as unpriced,
    arg_max(p.finish_reason, (p.start_unix_nano, p.span_id)) as last_finish_reason,
    arg_max(p.status, (p.start_unix_nano, p.span_id)) as last_status,
    max(p.end_unix_nano) as last_end, count(*) filter (a.is_retry) + coalesce(sum(p.resend_count), 0) as retries
from d_priced p left join d_attempt a using (trace_id, span_id)
where p.is_billed group by all;

create or replace temp table d_run_tool as
select trace_id, agent_span_id, count(*)::integer as tool_calls,
    count(*) filter (is_error)::integer as tool_errors, count(distinct tool_name)::integer as distinct_tools,
    max(consecutive_repeat)::integer as max_consecutive_repeat,
    count(*) filter (is_repeat) / count(*) as thrash_ratio, max(end_unix_nano) as last_end
from d_tool group by all;

create or replace temp table d_run as
with recursive ancestor as (
    select trace_id, span_id as run, span_id as above, parent_agent_span_id as next from d_tree where agent_span_id = span_id
    union all
    select a.trace_id, a.run, a.next, t.parent_agent_span_id
    from ancestor a join d_tree t on t.trace_id = a.trace_id and t.span_id = a.next
), whole as (
    select a.trace_id, a.above as span_id, sum(c.own_cost_pico) as cost_pico,
        coalesce(sum(c.unpriced), 0) as unpriced, coalesce(sum(c.model_calls), 0) as model_calls
    from ancestor a left join d_run_call c on c.trace_id = a.trace_id and c.agent_span_id = a.run
    group by all
)
select s.trace_id, s.span_id, coalesce(s.agent_name, s.name) as agent_name, s.agent_version,
    coalesce(up.agent_name, up.name) as parent_agent, s.service_name, coalesce(s.environment, tr.environment) as environment,
    s.start_time, s.duration_ms,
    c.iterations as loop_length, coalesce(c.model_calls, 0) as model_calls,
    coalesce(t.tool_calls, 0) as tool_calls, coalesce(t.tool_errors, 0) as tool_errors,
    coalesce(t.distinct_tools, 0) as distinct_tools, coalesce(t.max_consecutive_repeat, 0) as max_consecutive_repeat,
    t.thrash_ratio, coalesce(th.thrash_cost_pico, 0) as thrash_cost_pico,
    coalesce(w.cost_pico, case when w.unpriced = 0 then 0 end) as cost_pico,
    coalesce(c.own_cost_pico, case when coalesce(c.unpriced, 0) = 0 then 0 end) as own_cost_pico,
    coalesce(s.termination_reason, case
        when s.status = 'cancelled' then 'cancelled'
        when s.status = 'error' and lower(coalesce(s.error_type, '')) similar to '.*(max.?turns|recursion|iteration|usage.?limit).*' then 'iteration_cap'
        when s.status = 'error' then 'error'
        when c.last_finish_reason in ('max_tokens', 'length', 'MAX_TOKENS') then 'truncated'
        when c.last_finish_reason in ('refusal', 'content_filter', 'SAFETY') then 'refused'
        when c.last_status = 'error' and c.last_end >= coalesce(t.last_end, 0) then 'error'
        when coalesce(w.model_calls, 0) = 0 then 'unknown'
        else 'completed' end) as termination_reason,
    s.iteration_limit, coalesce(c.iterations >= s.iteration_limit, false) as hit_limit, s.confidence
from d_span s
join d_tree tree using (trace_id, span_id)
left join d_span up on up.trace_id = s.trace_id and up.span_id = tree.parent_agent_span_id
left join d_trace tr on tr.trace_id = s.trace_id
left join d_run_call c on c.trace_id = s.trace_id and c.agent_span_id = s.span_id
left join d_run_tool t on t.trace_id = s.trace_id and t.agent_span_id = s.span_id
left join d_thrash th on th.trace_id = s.trace_id and th.agent_span_id = s.span_id
left join whole w on w.trace_id = s.trace_id and w.span_id = s.span_id
where s.kind = 'agent';

create or replace temp table d_request as
with call_sum as (
    select p.trace_id, count(*)::integer as model_calls, sum(p.cost_pico) as cost_pico,
        count(*) filter (p.cost_pico is null) as unpriced,
        coalesce(coalesce(sum(p.total_tokens) filter (p.cost_pico is not null), 0) / nullif(sum(p.total_tokens), 0), case when unpriced = 0 then 1 end) as priced_ratio,
        case when unpriced > 0 then 'unpriced' else max(p.cost_quality) filter (p.cost_quality <> 'exact') end as worst_quality,
        list_sort(list(distinct p.model) filter (p.model is not null)) as models,
        sum(p.uncached_input_tokens) as uncached_input_tokens, sum(p.cache_read_tokens) as cache_read_tokens,
        sum(p.cache_write_short_tokens + p.cache_write_long_tokens) as cache_write_tokens,
        sum(p.output_tokens) as output_tokens,
        sum(p.cache_read_tokens) filter (p.cache_reported)
            / nullif(sum(p.prompt_tokens) filter (p.cache_reported), 0) as cache_hit_ratio,
        sum(p.cache_saved_pico) as cache_saved_pico,
        count(*) filter (p.kind = 'llm' and not a.is_retry)::integer as leaf_calls,
        (count(*) filter (a.is_retry) + coalesce(sum(p.resend_count), 0))::integer as retries,
        arg_max(p.status, (p.start_unix_nano, p.span_id)) as last_status, arg_max(p.error_type, (p.start_unix_nano, p.span_id)) as last_error_type,
        arg_max(p.error_class, (p.start_unix_nano, p.span_id)) as last_error_class,
        arg_max(p.finish_reason, (p.start_unix_nano, p.span_id)) as last_finish_reason,
        max(p.end_unix_nano) as last_end
    from d_priced p left join d_attempt a using (trace_id, span_id)
    where p.is_billed group by p.trace_id
), tool_sum as (
    select trace_id, count(*)::integer as tool_calls, count(*) filter (is_error)::integer as tool_errors,
        max(consecutive_repeat)::integer as max_consecutive_repeat, max(end_unix_nano) as last_end
    from d_tool group by trace_id
), run_sum as (
    select trace_id, max(loop_length) as loop_length, list_sort(list(distinct agent_name)) as agents,
        arg_min(termination_reason, (start_time, span_id)) as termination_reason
    from d_run group by trace_id
), failed as (
    select trace_id, count(*)::integer as child_errors from d_span
    where status = 'error' and kind in ('llm', 'embedding', 'tool') group by trace_id
), thrash as (
    select trace_id, sum(thrash_cost_pico) as thrash_cost_pico from d_thrash group by trace_id
)
select t.trace_id as request_id, t.name, t.service_name, t.environment,
    coalesce(t.agent_name, case when t.is_complete then t.service_name end) as agent_name, t.agent_version, t.session_id, t.user_id, t.tenant, t.tags,
    t.start_time, t.end_time, epoch_us(t.end_time) / 1000.0 - epoch_us(t.start_time) / 1000.0 as duration_ms,
    t.root_status = 'error'
        or (t.root_status <> 'cancelled' and c.last_status = 'error' and c.last_end >= coalesce(ts.last_end, 0)
            and t.root_termination_reason is null) is true as is_error,
    case when is_error then coalesce(t.root_error_type, c.last_error_type) end as error_type,
    case when is_error then coalesce(case when t.root_error_class <> 'internal' then t.root_error_class end,
        c.last_error_class, t.root_error_class, 'internal') end as error_class,
    case when is_error then 0 else coalesce(f.child_errors, 0) end as recovered_errors,
    coalesce(c.cost_pico, case when coalesce(c.unpriced, 0) = 0 then 0 end) as cost_pico,
    coalesce(c.worst_quality, 'exact') as cost_quality, coalesce(c.priced_ratio, case when c.trace_id is null then 1 end) as priced_ratio,
    coalesce(c.model_calls, 0) as model_calls, coalesce(ts.tool_calls, 0) as tool_calls,
    coalesce(ts.tool_errors, 0) as tool_errors, coalesce(r.loop_length, c.leaf_calls, 0) as loop_length,
    coalesce(r.agents, []) as agents, coalesce(c.models, []) as models,
    c.uncached_input_tokens, c.cache_read_tokens, c.cache_write_tokens, c.output_tokens, c.cache_hit_ratio, c.cache_saved_pico,
    coalesce(c.retries, 0) as retries, coalesce(ts.max_consecutive_repeat, 0) as max_consecutive_repeat,
    coalesce(th.thrash_cost_pico, 0) as thrash_cost_pico,
    coalesce(t.root_termination_reason, r.termination_reason, case when is_error then 'error'
        when t.root_status = 'cancelled' then 'cancelled'
        when c.last_finish_reason in ('max_tokens', 'length', 'MAX_TOKENS') then 'truncated'
        when c.last_finish_reason in ('refusal', 'content_filter', 'SAFETY') then 'refused'
        when c.trace_id is null then 'unknown' else 'completed' end) as termination_reason,
    t.span_count, t.is_complete, t.first_received_at, t.last_received_at, t.first_batch
from d_trace t
left join call_sum c using (trace_id)
left join tool_sum ts using (trace_id)
left join run_sum r using (trace_id)
left join failed f using (trace_id)
left join thrash th using (trace_id);
