-- Calls that started before an edge and had not ended long before it, the latest end first.
select trace_id, span_id, kind, start_time, coalesce(model, response_model, request_model, '') as model_name,
    coalesce(lower(service_tier), 'standard') as tier, is_batch, end_time > $edge as is_across,
    coalesce(cost_pico, 0)::varchar as cost, coalesce(uncached_input_tokens, 0) as input,
    coalesce(cache_read_tokens, 0) as cache_read, coalesce(cache_write_short_tokens, 0) as cache_write_short,
    coalesce(cache_write_long_tokens, 0) as cache_write_long, coalesce(output_tokens, 0) as output,
    coalesce(audio_input_tokens, 0) as audio_input, coalesce(audio_cache_read_tokens, 0) as audio_cache_read,
    coalesce(audio_output_tokens, 0) as audio_output, coalesce(image_input_tokens, 0) as image_input,
    coalesce(image_output_tokens, 0) as image_output
from calls
where is_billed and provider = $provider and start_time < $edge and start_time >= $oldest_start and end_time > $oldest_end
    and coalesce(web_searches, 0) = 0
    and not (status = 'error' and total_tokens is null and coalesce(cost_pico, 0) = 0)
order by end_time desc, trace_id, span_id
limit 5000;
