-- The bands in force now, in USD per million tokens (searches: per thousand).
create or replace view prices as
select k.provider_id as provider, k.model_id as model, k.context,
    nullif(b.gt_prompt, -1) as above_prompt_tokens,
    p_input / 1e6 as input_usd, p_cache_read / 1e6 as cache_read_usd,
    p_cache_write_short / 1e6 as cache_write_short_usd, p_cache_write_long / 1e6 as cache_write_long_usd,
    p_output / 1e6 as output_usd, p_audio_input / 1e6 as audio_input_usd,
    p_audio_output / 1e6 as audio_output_usd, p_web_search / 1e9 as web_search_usd,
    case when b.valid_from > -4000000000000 then to_timestamp(b.valid_from) end as valid_from,
    case when b.valid_to < 4000000000000 then to_timestamp(b.valid_to) end as valid_to,
    b.tod_from, b.tod_to, b.dow_mask, b.source, b.quality
from price_band b join price_key k using (price_key)
where epoch(now()) >= b.valid_from and epoch(now()) < b.valid_to;
