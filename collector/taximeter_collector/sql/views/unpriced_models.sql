-- What no price was found for, with its size and what to do.
create or replace view unpriced_models as
select provider, model, count(*) as calls, sum(total_tokens) as tokens,
    count(*) filter (total_tokens is null) as calls_without_usage,
    min(start_time) as first_seen, max(start_time) as last_seen,
    case when sum(total_tokens) is null then 'the provider sent no usage: ask for it in the request'
        else 'add a [[price]] with provider = "' || coalesce(provider, '') || '", model = "' || coalesce(model, '')
            || '" to prices.toml' end as how_to_price
from rollup.call
where is_billed and cost_pico is null
group by provider, model;
