-- Stored calls that a provider bills, by UTC day × provider × kind × model × tier: tokens, cost, and the unit
-- prices that the stored costs show (min = max where all calls had the same). Refused calls are not counted.
with billed as (
    select *, (start_time at time zone 'UTC')::date as day,
        coalesce(model, response_model, request_model, '') as model_name,
        coalesce(lower(service_tier), 'standard') as tier,
        case when web_searches > 0 and coalesce(audio_input_tokens, 0) + coalesce(audio_cache_read_tokens, 0)
            + coalesce(audio_output_tokens, 0) + coalesce(image_input_tokens, 0) + coalesce(image_output_tokens, 0) = 0
            then other_cost_pico else 0 end as search_pico
    from calls
    where is_billed and provider = $provider and start_time >= $from and start_time < $to
        and not (status = 'error' and total_tokens is null and coalesce(cost_pico, 0) = 0)
)
select day, provider, kind, model_name, tier, is_batch, count(*) as calls,
    count(*) filter (uncached_input_tokens is null or (output_tokens is null and kind = 'llm') or usage_conflict) as doubtful,
    count(*) filter (cost_pico is null) as unpriced,
    coalesce(sum(cost_pico - search_pico), 0)::varchar as cost, coalesce(sum(search_pico), 0)::varchar as search_cost,
    coalesce(sum(prompt_tokens), 0)::varchar as prompt,
    coalesce(sum(uncached_input_tokens), 0)::varchar as input, coalesce(sum(cache_read_tokens), 0)::varchar as cache_read,
    coalesce(sum(cache_write_short_tokens), 0)::varchar as cache_write_short,
    coalesce(sum(cache_write_long_tokens), 0)::varchar as cache_write_long, coalesce(sum(output_tokens), 0)::varchar as output,
    coalesce(sum(audio_input_tokens), 0)::varchar as audio_input,
    coalesce(sum(audio_cache_read_tokens), 0)::varchar as audio_cache_read,
    coalesce(sum(audio_output_tokens), 0)::varchar as audio_output, coalesce(sum(image_input_tokens), 0)::varchar as image_input,
    coalesce(sum(image_output_tokens), 0)::varchar as image_output, coalesce(sum(web_searches), 0)::varchar as web_search,
    min(input_cost_pico / uncached_input_tokens) filter (uncached_input_tokens > 0) as input_min,
    max(input_cost_pico / uncached_input_tokens) filter (uncached_input_tokens > 0) as input_max,
    min(cache_read_cost_pico / cache_read_tokens) filter (cache_read_tokens > 0) as cache_read_min,
    max(cache_read_cost_pico / cache_read_tokens) filter (cache_read_tokens > 0) as cache_read_max,
    min(cache_write_cost_pico / cache_write_short_tokens) filter (cache_write_short_tokens > 0 and coalesce(cache_write_long_tokens, 0) = 0) as cache_write_short_min,
    max(cache_write_cost_pico / cache_write_short_tokens) filter (cache_write_short_tokens > 0 and coalesce(cache_write_long_tokens, 0) = 0) as cache_write_short_max,
    min(cache_write_cost_pico / cache_write_long_tokens) filter (cache_write_long_tokens > 0 and coalesce(cache_write_short_tokens, 0) = 0) as cache_write_long_min,
    max(cache_write_cost_pico / cache_write_long_tokens) filter (cache_write_long_tokens > 0 and coalesce(cache_write_short_tokens, 0) = 0) as cache_write_long_max,
    min(output_cost_pico / output_tokens) filter (output_tokens > 0) as output_min,
    max(output_cost_pico / output_tokens) filter (output_tokens > 0) as output_max,
    min(search_pico / web_searches) filter (search_pico > 0) as web_search_min,
    max(search_pico / web_searches) filter (search_pico > 0) as web_search_max
from billed
group by all order by all;
