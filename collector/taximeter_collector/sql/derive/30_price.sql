-- d_call → d_priced: the price box that the call's key, start and prompt length fall into, and the cost in it.
-- Boxes of a key never overlap, so a call meets at most one. A used unit without a price makes the cost NULL.
-- $price_version: the price list.
create or replace temp table d_priced as
with named as (
    select c.rowid as call, bound.output_tokens_lower_bound, bound.output_tokens_upper_bound,
        coalesce(answered.price_key, asked.price_key) as price_key,
        coalesce(answered.provider, asked.provider, c.provider_raw) as provider,
        -- The user says how long writes live whose lifetime the emitter leaves out.
        case when c.cache_write_tokens > 0 and c.cache_write_short_tokens is null then ttl.value end as ttl,
        'cache writes live ' || ttl.value || ' (' || ttl.source || ')' as ttl_source,
        case when answered.price_key is not null then c.response_model
            when asked.price_key is not null then c.request_model
            else coalesce(c.response_model, c.request_model) end as model,
        coalesce(c.prompt_tokens, 0) as tier_tokens, epoch(c.start_time) as started,
        extract(hour from c.start_time) * 3600 + extract(minute from c.start_time) * 60
            + floor(extract(second from c.start_time)) as second_of_day
    from d_call c
    left join d_output_bound bound on bound.trace_id = c.trace_id and bound.span_id = c.span_id
    left join model_alias answered on answered.model = c.response_model
        and answered.provider_raw is not distinct from c.provider_raw
        and answered.tier = coalesce(c.service_tier, 'standard') and answered.is_batch = c.is_batch
        and answered.region_class is not distinct from c.region_class
        and answered.server_address is not distinct from c.server_address
    left join d_rule ttl on ttl.kind = 'cache_ttl' and ttl.trace_id = c.trace_id and ttl.span_id = c.span_id
    left join model_alias asked on asked.model = c.request_model
        and asked.provider_raw is not distinct from c.provider_raw
        and asked.tier = coalesce(c.service_tier, 'standard') and asked.is_batch = c.is_batch
        and asked.region_class is not distinct from c.region_class
        and asked.server_address is not distinct from c.server_address
), boxed as (
    select n.* exclude (price_key, tier_tokens, started, second_of_day),
        c.uncached_input_tokens, c.unclassified_input_tokens, c.cache_read_tokens, c.cache_write_tokens, c.cache_write_short_tokens,
        c.cache_write_long_tokens, c.output_tokens, c.audio_input_tokens, c.audio_cache_read_tokens, c.audio_output_tokens,
        c.image_input_tokens, c.image_output_tokens, c.web_searches,
        -- Refused before it produced anything: providers do not bill it.
        c.status = 'error' and not coalesce(c.has_usage, false) and c.ttft_ms is null
            and c.error_class in ('throttled', 'client', 'provider') as is_free,
        c.is_billed and c.kind = 'llm' and not c.is_aggregate and c.output_tokens is null and not is_free as is_bounded,
        coalesce(c.cache_write_tokens > 0 and c.cache_write_short_tokens is null, false) as is_open_write,
        b.source as band_source, b.quality as band_quality, p_input, p_cache_read, p_cache_write_short, p_cache_write_long, p_output,
        p_audio_input, p_audio_cache_read, p_audio_output, p_image_input, p_image_output, p_web_search
    from named n join d_call c on c.rowid = n.call
    left join price_band b on b.price_key = n.price_key
        and n.started >= b.valid_from and n.started < b.valid_to
        and n.tier_tokens > b.gt_prompt and n.tier_tokens <= b.le_prompt
        and (b.all_day or ((b.dow_mask >> (isodow(c.start_time) - 1)::integer) & 1 = 1
            and n.second_of_day >= b.tod_from and n.second_of_day < b.tod_to))
), costed as (
    select *,
        -- A prompt whose cached share is not told is priced as if nothing was cached, a write of unknown lifetime as short.
        priced(coalesce(uncached_input_tokens, 0) + unclassified_input_tokens, p_input) as input_pico,
        priced(coalesce(cache_read_tokens, 0), p_cache_read) as read_pico,
        coalesce(priced(cache_write_short_tokens, p_cache_write_short) + priced(cache_write_long_tokens, p_cache_write_long),
            priced(coalesce(cache_write_tokens, 0), case when ttl in ('1h', '12h') then p_cache_write_long else p_cache_write_short end)) as write_pico,
        case when cache_read_tokens is null
                or cache_write_tokens is null and unclassified_input_tokens > 0 and p_cache_write_short is distinct from p_input then 'assumed_uncached'
            when cache_write_tokens > 0 and cache_write_short_tokens is null and ttl is null and p_cache_write_long is distinct from p_cache_write_short then 'assumed_ttl'
        end as assumption,
        priced(output_tokens, p_output) as output_pico,
        priced(coalesce(audio_input_tokens, 0), p_audio_input) + priced(coalesce(audio_cache_read_tokens, 0), p_audio_cache_read)
            + priced(coalesce(audio_output_tokens, 0), p_audio_output) + priced(coalesce(image_input_tokens, 0), p_image_input)
            + priced(coalesce(image_output_tokens, 0), p_image_output) + priced(coalesce(web_searches, 0), p_web_search) as other_pico
    from boxed
), judged as (
    select call, provider, model, output_tokens_lower_bound, output_tokens_upper_bound, ttl, ttl_source, band_source, band_quality, assumption, is_free, is_bounded,
        input_pico, read_pico, write_pico, output_pico, other_pico, input_pico + read_pico + write_pico + output_pico + other_pico as computed_pico,
        (coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0))::hugeint * p_input
            - read_pico - write_pico
            + coalesce(audio_cache_read_tokens, 0)::hugeint * (coalesce(p_audio_input, 0) - coalesce(p_audio_cache_read, 0)) as saved_pico,
        -- Of a call whose output was not counted: what is known at its lowest and its highest price.
        priced(coalesce(uncached_input_tokens, 0), p_input) + priced(unclassified_input_tokens, least(p_input, p_cache_read)) + read_pico + other_pico
            + case when is_open_write then priced(cache_write_tokens, least(p_cache_write_short, p_cache_write_long)) else write_pico end as prompt_low_pico,
        priced(coalesce(uncached_input_tokens, 0), p_input)
            + priced(unclassified_input_tokens, greatest(p_input, p_cache_write_short, p_cache_write_long)) + read_pico + other_pico
            + case when is_open_write then priced(cache_write_tokens, greatest(p_cache_write_short, p_cache_write_long)) else write_pico end as prompt_high_pico,
        priced(output_tokens_lower_bound, p_output) as output_low_pico,
        priced(output_tokens_upper_bound, case when p_output is not null then greatest(p_output, p_audio_output, p_image_output) end) as output_high_pico
    from costed
)
select c.*, provider, model, output_tokens_lower_bound, output_tokens_upper_bound,
    case when is_free then 0 else computed_pico end as cost_pico, cost_pico as cost_computed_pico, $price_version as price_version,
    case when is_free then 0 when computed_pico is not null then input_pico end as input_cost_pico,
    case when is_free then 0 when computed_pico is not null then read_pico end as cache_read_cost_pico,
    case when is_free then 0 when computed_pico is not null then write_pico end as cache_write_cost_pico,
    case when is_free then 0 when computed_pico is not null then output_pico end as output_cost_pico,
    case when is_free then 0 when computed_pico is not null then other_pico end as other_cost_pico,
    case when is_bounded and cost_pico is null then coalesce(prompt_low_pico + coalesce(output_low_pico, 0), output_low_pico) end as cost_lower_bound_pico,
    case when is_bounded and cost_pico is null then prompt_high_pico + output_high_pico end as cost_upper_bound_pico,
    case when computed_pico is not null then saved_pico end as cache_saved_pico,
    case when is_free then 'exact' when computed_pico is null then 'unpriced'
        when is_aggregate then 'aggregate' else coalesce(assumption, band_quality) end as cost_quality,
    case when computed_pico is not null then concat_ws('; ', band_source, case when ttl is not null then ttl_source end) end as price_source,
    null::struct(model varchar, tokens bigint, cost_pico bigint)[] as other_models,
    null::hugeint as first_cost_pico, null::varchar as first_price_source, null::varchar as first_price_version
from judged join d_call c on c.rowid = judged.call;
