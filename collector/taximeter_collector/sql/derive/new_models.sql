-- Combinations that model_alias does not know yet; both the answered and the asked-for model.
select distinct provider_raw, model, tier, is_batch, region_class, server_address
from (
    select provider_raw, unnest([response_model, request_model]) as model, coalesce(service_tier, 'standard') as tier,
        is_batch, region_class, server_address
    from d_call
) as seen
where model is not null and not exists (
    from model_alias a
    where a.provider_raw is not distinct from seen.provider_raw and a.model = seen.model
        and a.tier = seen.tier and a.is_batch = seen.is_batch
        and a.region_class is not distinct from seen.region_class
        and a.server_address is not distinct from seen.server_address
);
