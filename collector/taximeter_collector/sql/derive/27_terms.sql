-- On what terms a call was made → d_call: what the provider's usage object says, then what the user's rules say
-- (batch); how long its cache writes live and whether a stated cost counts → d_rule.

-- Anthropic: speed, service_tier, inference_geo. Gemini: trafficType. OpenRouter: cost, in USD.
create or replace temp table d_said as
with opened as (
    select trace_id, span_id, case when json_valid(usage_raw) then usage_raw::json end as usage
    from d_call where usage_raw is not null
), read as (
    select trace_id, span_id, usage ->> '$.speed' as speed, usage ->> '$.service_tier' as service_tier,
        lower(regexp_replace(coalesce(usage ->> '$.trafficType', usage ->> '$.traffic_type'), '^(.*\.)?(ON_DEMAND_)?', '')) as traffic,
        nullif(nullif(lower(usage ->> '$.inference_geo'), 'global'), 'not_available') as geo,
        try_cast(usage ->> '$.cost' as double) as cost
    from opened where usage is not null
)
select trace_id, span_id, case when speed = 'fast' then 'fast' else coalesce(service_tier, traffic) end as tier,
    'geo:' || geo as region_class, case when cost > 0 then cost end as cost
from read
where speed = 'fast' or coalesce(service_tier, traffic, geo) is not null or cost > 0;

update d_call c set
    service_tier = case when coalesce(lower(c.service_tier), 'auto') in ('standard', 'default', 'auto', 'on_demand')
        then coalesce(s.tier, c.service_tier) else c.service_tier end,
    is_batch = c.is_batch or coalesce(s.tier = 'batch', false),
    region_class = coalesce(c.region_class, s.region_class),
    cost_reported_usd = coalesce(c.cost_reported_usd, s.cost)
from d_said s where s.trace_id = c.trace_id and s.span_id = c.span_id;

-- The last rule of a kind that meets the call decides.
create or replace temp table d_rule as
select c.trace_id, c.span_id, r.kind, arg_max(r.value, r.rank) as value, arg_max(r.source, r.rank) as source
from d_call c
join traffic_rule r on meets(c.service_name, r.service_name) and meets(c.environment, r.environment)
    and meets(c.agent_name, r.agent_name) and meets(c.tenant, r.tenant) and meets(c.user_id, r.user_id)
    and meets(c.provider_raw, r.provider) and meets(c.server_address, r.server_address) and meets(c.dialect, r.dialect)
    and (meets(c.response_model, r.model) or meets(c.request_model, r.model))
    and (r.tag is null or len(list_filter(coalesce(c.tags, []), lambda tag: meets(tag, r.tag))) > 0)
group by all;

update d_call c set is_batch = r.value = 'true'
from d_rule r where r.kind = 'batch' and r.trace_id = c.trace_id and r.span_id = c.span_id;
