-- A call that was looked at keeps its price when its trace is derived again: late spans and new price lists change no
-- history, only `taximeter prices reprice` does. Under the same list it is priced again, which must come to the same.
-- → d_stored, the stored calls that are still the same calls.
create or replace temp table d_stored as
select c.*
from rollup.call c join d_priced p using (trace_id, span_id)
where c.price_version is not null and c.start_time between getvariable('stored_time').first and getvariable('stored_time').last
    and (c.request_model, c.response_model, c.service_tier, c.region_class, c.status, c.start_time,
        c.cost_reported_usd, c.unclassified_input_tokens, c.cache_write_tokens, c.uncached_input_tokens, c.cache_read_tokens, c.cache_write_short_tokens,
        c.cache_write_long_tokens, c.output_tokens, c.audio_input_tokens, c.audio_cache_read_tokens,
        c.audio_output_tokens, c.image_input_tokens, c.image_output_tokens, c.web_searches)
        is not distinct from (p.request_model, p.response_model, p.service_tier, p.region_class, p.status, p.start_time,
        p.cost_reported_usd, p.unclassified_input_tokens, p.cache_write_tokens, p.uncached_input_tokens, p.cache_read_tokens, p.cache_write_short_tokens,
        p.cache_write_long_tokens, p.output_tokens, p.audio_input_tokens, p.audio_cache_read_tokens,
        p.audio_output_tokens, p.image_input_tokens, p.image_output_tokens, p.web_searches);
