-- What no price was found for, by tier, with its size and what to do.
create or replace view unpriced_models as
select provider, model, service_tier, count(*) as calls, sum(total_tokens) as tokens,
    count(*) filter (total_tokens is null) as calls_without_usage,
    min(start_time) as first_seen, max(start_time) as last_seen,
    case when model is null then 'the emitter names no model: make it send gen_ai.request.model'
        when sum(total_tokens) is null and bool_or(basis_evidence = 'last_of_several')
            then 'one span stands for several calls: trace the calls inside it, or switch off the tool loop of the client'
        when sum(total_tokens) is null then 'the provider sent no usage: ask for it in the request'
        when model like 'arn:%' or provider = 'azure' then 'a name of your own: add an [[alias]] with request_model = "' || model || '" and model = the model behind it'
        else 'add a [[price]] with provider = "' || coalesce(provider, '*') || '", model = "' || model || '"'
            || case when bool_or(is_batch) then ', tier = "batch"'
                when lower(service_tier) not in ('standard', 'default', 'auto', 'on_demand') then ', tier = "' || lower(service_tier) || '"' else '' end
            || ' to prices.toml' end as how_to_price
from rollup.call
where is_billed and cost_pico is null
group by provider, model, service_tier;
