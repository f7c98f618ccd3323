-- A call that was priced keeps its price when its trace is derived again: late spans and new price lists change no
-- history, only `taximeter prices reprice` does. Under the same list it is priced again, which must come to the same.
create or replace temp table d_stored as
select c.*
from rollup.call c join d_priced p using (trace_id, span_id)
where c.price_version is not null
    and (c.request_model, c.response_model, c.service_tier, c.region_class, c.status, c.start_time,
        c.cost_reported_usd, c.uncached_input_tokens, c.cache_read_tokens, c.cache_write_short_tokens,
        c.cache_write_long_tokens, c.output_tokens, c.audio_input_tokens, c.audio_cache_read_tokens,
        c.audio_output_tokens, c.image_input_tokens, c.image_output_tokens, c.web_searches)
        is not distinct from (p.request_model, p.response_model, p.service_tier, p.region_class, p.status, p.start_time,
        p.cost_reported_usd, p.uncached_input_tokens, p.cache_read_tokens, p.cache_write_short_tokens,
        p.cache_write_long_tokens, p.output_tokens, p.audio_input_tokens, p.audio_cache_read_tokens,
        p.audio_output_tokens, p.image_input_tokens, p.image_output_tokens, p.web_searches);

update d_priced p set
    first_cost_pico = c.first_cost_pico, first_price_source = c.first_price_source, first_price_version = c.first_price_version
from d_stored c where c.trace_id = p.trace_id and c.span_id = p.span_id;

update d_priced p set
    is_batch = c.is_batch, provider = c.provider, model = c.model, other_models = c.other_models,
    cost_pico = c.cost_pico, cost_computed_pico = c.cost_computed_pico,
    input_cost_pico = c.input_cost_pico, cache_read_cost_pico = c.cache_read_cost_pico,
    cache_write_cost_pico = c.cache_write_cost_pico, output_cost_pico = c.output_cost_pico,
    other_cost_pico = c.other_cost_pico, cache_saved_pico = c.cache_saved_pico,
    cost_quality = c.cost_quality, price_source = c.price_source, price_version = c.price_version
from d_stored c
where c.trace_id = p.trace_id and c.span_id = p.span_id and c.price_version <> $price_version and c.cost_pico is not null;
