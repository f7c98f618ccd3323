-- Recompute the touched minutes from the derived rows: idempotent, so a crash or a late span can't skew them.
insert into rollup.usage_minute by name
with bounds as (select min(minute) as first, max(minute) + interval 1 minute as last from d_minute),
request_row as (
    select date_trunc('minute', r.start_time) as minute, environment, service_name, agent_name, agent_version,
        tenant, user_id, null::varchar as provider, null::varchar as model, null::varchar as tool_name,
        count(*) as requests, count(*) filter (is_error) as failed_requests,
        count(*) filter (recovered_errors > 0) as recovered_requests,
        count(*) filter (child_errors > 0) as requests_with_child_errors,
        count(*) filter (termination_reason = 'cancelled') as cancelled_requests,
        count(*) filter (termination_reason = 'truncated') as truncated_requests,
        count(*) filter (termination_reason = 'refused') as refused_requests,
        sum(cost_pico) as request_cost_pico, count(*) filter (cost_pico is null) as unpriced_requests,
        sum(loop_length)::bigint as loop_length_sum, max(loop_length) as loop_length_max,
        count(loop_length) as loop_length_requests,
        sum(duration_ms) as duration_ms_sum, sum(thrash_cost_pico) as thrash_cost_pico,
        list_histogram(list(loop_length))::map(integer, bigint) as loop_length_histogram,
        list_histogram(list(floor(8 * log2(greatest(duration_ms, 1)))::integer))::map(integer, bigint) as latency_histogram
    from rollup.request r, bounds
    where is_request is not false and r.start_time >= bounds.first and r.start_time < bounds.last
        and date_trunc('minute', r.start_time) in (select minute from d_minute)
    group by all
), call_row as (
    select date_trunc('minute', c.start_time) as minute, environment, service_name, agent_name, agent_version,
        tenant, user_id, provider, model, null::varchar as tool_name,
        count(*) filter (signal <> 'metric') as calls, count(*) filter (status = 'error') as failed_calls,
        count(*) filter (error_class = 'throttled') as throttled_calls,
        count(*) filter (error_class = 'provider') as provider_failed_calls,
        count(*) filter (error_class = 'timeout') as timed_out_calls,
        count(*) filter (not is_retry and signal <> 'metric') as logical_calls,
        count(*) filter (status = 'error' and is_last_attempt) as failed_logical_calls,
        sum(unseen_attempts)::bigint as unseen_attempts,
        count(*) filter (is_retry) + sum(unseen_attempts)::bigint as retried_calls,
        count(*) filter (is_decision and not is_retry) as decisions,
        sum(total_tokens) filter (is_decision) as decision_tokens,
        sum(uncached_input_tokens) as uncached_input_tokens, sum(cache_read_tokens) as cache_read_tokens,
        sum(cache_write_tokens) as cache_write_tokens,
        sum(output_tokens) as output_tokens, sum(reasoning_tokens) as reasoning_tokens,
        sum(total_tokens) as tokens, coalesce(sum(total_tokens) filter (cost_pico is not null), 0) as priced_tokens,
        sum(prompt_tokens) filter (cache_reported) as hit_denominator_tokens,
        sum(cache_read_tokens) filter (cache_reported) as hit_read_tokens,
        sum(cache_write_tokens) filter (cache_reported) as hit_write_tokens,
        sum(cost_pico) filter (cache_saved_pico is not null) as saved_base_pico,
        sum(cost_pico) filter (output_tokens > 0) as output_base_pico,
        sum(output_tokens) filter (cost_pico is not null) as priced_output_tokens,
        sum(output_tokens) filter (output_tokens is not null and ttft_ms < duration_ms) as timed_output_tokens,
        sum(duration_ms - ttft_ms) filter (output_tokens is not null and ttft_ms < duration_ms) as generating_ms,
        sum(cost_reported_usd) filter (cost_pico is not null) as reported_usd,
        sum(cost_pico) filter (cost_reported_usd is not null) as reported_base_pico,
        count(*) filter (cost_pico is null) as unpriced_calls, sum(cost_pico) as cost_pico,
        sum(input_cost_pico) as input_cost_pico, sum(cache_read_cost_pico) as cache_read_cost_pico,
        sum(cache_write_cost_pico) as cache_write_cost_pico, sum(output_cost_pico) as output_cost_pico,
        sum(other_cost_pico) as other_cost_pico, sum(cache_saved_pico) as cache_saved_pico,
        list_histogram(list(floor(8 * log2(greatest(ttft_ms, 1)))::integer))::map(integer, bigint) as ttft_histogram
    from rollup.call c, bounds
    where is_billed and c.start_time >= bounds.first and c.start_time < bounds.last
        and date_trunc('minute', c.start_time) in (select minute from d_minute)
    group by all
), tool_row as (
    select date_trunc('minute', t.start_time) as minute, environment, service_name, agent_name, agent_version,
        tenant, user_id, null::varchar as provider, null::varchar as model, tool_name,
        count(*) as tool_calls, count(*) filter (is_error) as failed_tool_calls,
        count(*) filter (is_denied) as denied_tool_calls, count(*) filter (is_repeat) as repeated_tool_calls
    from rollup.tool_call t, bounds
    where t.is_delegation is not true and t.start_time >= bounds.first and t.start_time < bounds.last
        and date_trunc('minute', t.start_time) in (select minute from d_minute)
    group by all
)
from request_row union all by name from call_row union all by name from tool_row;
