-- What two periods used and paid, by group and model: [$before_start, $before_end) and [$start, $end).
-- Rows without a model count the requests of a group.
with call_row as (
    select start_time >= $start as is_after,
        case $group_by when 'agent_name' then agent_name when 'agent_version' then agent_version
            when 'environment' then environment when 'service_name' then service_name when 'tenant' then tenant
            when 'user_id' then user_id when 'provider' then provider when 'model' then model end as group_name,
        coalesce(provider, '') || '/' || coalesce(model, '') as model, cost_pico,
        -- A cost without parts (stated by the emitter) says nothing of a price per token.
        input_cost_pico is not null as has_parts,
        uncached_input_tokens, unclassified_input_tokens, cache_read_tokens, cache_write_tokens, output_tokens,
        total_tokens, input_cost_pico, cache_read_cost_pico, cache_write_cost_pico, output_cost_pico
    from calls
    where is_billed and start_time >= $before_start and start_time < $end
        and (start_time < $before_end or start_time >= $start)
        and {where}
), request_row as (
    select minute >= $start as is_after,
        case $group_by when 'agent_name' then agent_name when 'agent_version' then agent_version
            when 'environment' then environment when 'service_name' then service_name when 'tenant' then tenant
            when 'user_id' then user_id end as group_name, requests
    from usage_minute
    where requests > 0 and minute >= $before_start and minute < $end
        and (minute < $before_end or minute >= $start)
        and {where}
)
select is_after, group_name, model, 0 as requests,
    count(cost_pico) as calls, count(*) - count(cost_pico) as unpriced_calls,
    coalesce(sum(total_tokens) filter (cost_pico is null), 0)::bigint as unpriced_tokens,
    coalesce(sum(coalesce(uncached_input_tokens, 0) + coalesce(unclassified_input_tokens, 0))
        filter (has_parts), 0)::bigint as uncached_tokens,
    coalesce(sum(cache_read_tokens) filter (has_parts), 0)::bigint as cache_read_tokens,
    coalesce(sum(cache_write_tokens) filter (has_parts), 0)::bigint as cache_write_tokens,
    coalesce(sum(output_tokens) filter (has_parts), 0)::bigint as output_tokens,
    coalesce(sum(cost_pico), 0)::hugeint as cost_pico,
    coalesce(sum(input_cost_pico), 0)::hugeint as uncached_pico,
    coalesce(sum(cache_read_cost_pico), 0)::hugeint as cache_read_pico,
    coalesce(sum(cache_write_cost_pico), 0)::hugeint as cache_write_pico,
    coalesce(sum(output_cost_pico), 0)::hugeint as output_pico
from call_row group by all
union all by name
select is_after, group_name, null::varchar as model, sum(requests)::bigint as requests from request_row group by all
