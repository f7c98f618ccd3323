-- One row per trace with its sums, its error and its end → d_request.
create or replace temp table d_request as
with call_sum as (
    select p.trace_id, case when not bool_or(p.is_aggregate or w.span_id is not null) then (count(*) filter (not coalesce(a.is_retry, false)))::integer end as model_calls, sum(p.cost_pico) as cost_pico,
        count(*) filter (p.cost_pico is null) as unpriced,
        coalesce(coalesce(sum(p.total_tokens) filter (p.cost_pico is not null), 0) / nullif(sum(p.total_tokens), 0), case when unpriced = 0 then 1 end) as priced_ratio,
        case when unpriced > 0 then 'unpriced' else max(p.cost_quality) filter (p.cost_quality <> 'exact') end as worst_quality,
        list_sort(list_distinct(list(p.model) filter (p.model is not null))) as models,
        case when coalesce(sum(p.unclassified_input_tokens), 0) = 0 then sum(p.uncached_input_tokens) end as uncached_input_tokens, sum(p.cache_read_tokens) as cache_read_tokens,
        sum(p.cache_write_tokens) as cache_write_tokens,
        sum(p.output_tokens) as output_tokens,
        sum(p.cache_read_tokens) filter (p.cache_reported)
            / nullif(sum(p.prompt_tokens) filter (p.cache_reported), 0) as cache_hit_ratio,
        sum(p.cache_saved_pico) as cache_saved_pico,
        -- A client that resends without a word looks as one that never had to.
        (count(*) filter (a.is_retry) + sum(a.unseen_attempts))::integer as seen_retries,
        case when seen_retries > 0 or bool_and(p.resend_count is not null) then seen_retries end as retries,
        count(*) filter (p.status = 'error') as failed_attempts,
        case when not bool_or(p.is_aggregate or w.span_id is not null or p.status <> 'error' and not coalesce(p.has_usage, false) and p.finish_reason is null)
            then (count(*) filter (p.status = 'error' and coalesce(a.is_last_attempt, true)))::integer end as failed_calls
    from d_priced p left join d_attempt a using (trace_id, span_id) left join d_wrapping w using (trace_id, span_id)
    where p.is_billed group by p.trace_id
), asked as (  -- tools that the model asked for; who ran them may not have been traced
    select trace_id, bool_or(finish_class = 'tool') as for_tools from d_priced join d_finish using (finish_reason) group by trace_id
), tool_sum as (
    select trace_id, count(*) filter (not is_delegation)::integer as tool_calls, count(*) filter (is_error and not is_delegation)::integer as tool_errors,
        max(consecutive_repeat)::integer as max_consecutive_repeat
    from d_tool group by trace_id
), run_sum as (
    select trace_id, max(loop_length) as loop_length, list_sort(list_distinct(list(agent_name))) as agents
    from d_run group by trace_id
), top_run as (  -- the root, else the last to end of those that no other stands above
    select r.*, e.end_unix_nano from d_run r join d_run_end e using (trace_id, span_id)
    where not exists (from d_run_above u where u.trace_id = r.trace_id and u.run = r.span_id and u.above <> r.span_id)
    qualify row_number() over (partition by r.trace_id order by e.end_unix_nano desc, r.span_id) = 1
), thrash as (
    select trace_id, sum(thrash_cost_pico) as thrash_cost_pico, count(*) filter (thrash_cost_pico is null) as unknown_cost
    from d_thrash group by trace_id
), ended as (
    select t.trace_id, c.decisions, case
        when t.root_termination_reason is not null then t.root_termination_reason
        when t.root_status = 'error' and r.termination_reason in ('completed', 'unknown', 'handoff') then 'error'
        when t.root_status = 'cancelled' and r.termination_reason in ('completed', 'unknown', 'handoff') then 'cancelled'
        when r.trace_id is not null then r.termination_reason
        when t.root_status in ('error', 'cancelled') then t.root_status
        when c.last_status in ('error', 'cancelled') then c.last_status
        when c.last_finish in ('truncated', 'refused', 'guardrail', 'error', 'cancelled') then c.last_finish
        when c.last_finish in ('tool', 'paused') and t.root_kind not in ('llm', 'embedding') then 'unknown'
        when c.last_finish in ('answer', 'tool', 'paused') or (c.trace_id is not null and t.root_status = 'ok') then 'completed'
        else 'unknown' end as reason,
        coalesce(r.error_type, c.last_error.type) as last_error_type, coalesce(r.error_class, c.last_error.class) as last_error_class
    from d_trace t
    left join top_run r using (trace_id)
    left join d_run_call c on c.trace_id = t.trace_id and c.run = ''
)
select t.trace_id as request_id, t.is_request and t.trace_id not in (from d_shadow) as is_request, t.name, t.service_name, t.environment,
    coalesce(t.agent_name, case when t.is_complete then t.service_name end) as agent_name, t.agent_version, t.session_id, t.user_id, t.tenant, t.tags,
    t.start_time, t.end_time, epoch_us(t.end_time) / 1000.0 - epoch_us(t.start_time) / 1000.0 as duration_ms,
    t.root_status = 'error' or (t.root_status <> 'cancelled' and t.root_termination_reason is null and e.reason = 'error') as is_error,
    case when is_error then coalesce(t.root_error_type, e.last_error_type) end as error_type,
    case when is_error then coalesce(case when t.root_error_class <> 'internal' then t.root_error_class end,
        e.last_error_class, t.root_error_class, 'internal') end as error_class,
    (coalesce(c.failed_attempts, 0) + coalesce(ts.tool_errors, 0))::integer as child_errors,
    case when is_error then 0 else child_errors end as recovered_errors,
    -- An agent whose calls nobody traced has unknown ones, not none.
    c.trace_id is null and t.has_foreign_agent as is_blind,
    coalesce(c.cost_pico, case when coalesce(c.unpriced, 0) = 0 and not is_blind then 0 end) as cost_pico,
    coalesce(c.worst_quality, case when is_blind then 'unpriced' else 'exact' end) as cost_quality,
    coalesce(c.priced_ratio, case when c.trace_id is null and not is_blind then 1 end) as priced_ratio,
    case when c.trace_id is not null then c.model_calls when not is_blind then 0 end as model_calls,
    -- What failed at the provider without a failed call to be seen failed in one that is not traced.
    case when is_error and error_class in ('throttled', 'timeout', 'provider', 'client') and child_errors = 0 then null
        when c.trace_id is not null then c.failed_calls when not is_blind then 0 end as failed_calls,
    -- No tool was traced: none ran, unless a model asked for one, or one agent span is all that was.
    a.for_tools is true or (is_blind and t.span_count = 1) as is_blind_to_tools,
    coalesce(ts.tool_calls, case when not is_blind_to_tools then 0 end) as tool_calls,
    coalesce(ts.tool_errors, case when not is_blind_to_tools then 0 end) as tool_errors, coalesce(r.loop_length, e.decisions) as loop_length,
    coalesce(r.agents, []) as agents, coalesce(c.models, []) as models,
    c.uncached_input_tokens, c.cache_read_tokens, c.cache_write_tokens, c.output_tokens, c.cache_hit_ratio, c.cache_saved_pico,
    case when c.trace_id is not null then c.retries when not is_blind then 0 end as retries, coalesce(ts.max_consecutive_repeat, 0) as max_consecutive_repeat,
    case when th.trace_id is null then 0 when th.unknown_cost = 0 then th.thrash_cost_pico end as thrash_cost_pico,
    e.reason as termination_reason,
    t.span_count, t.is_complete, t.first_received_at, t.last_received_at, t.first_batch
from d_trace t
join ended e using (trace_id)
left join call_sum c using (trace_id)
left join tool_sum ts using (trace_id)
left join asked a using (trace_id)
left join run_sum r using (trace_id)
left join thrash th using (trace_id);
