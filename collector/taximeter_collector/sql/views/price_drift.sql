-- The cost that emitters state against the cost of the tokens, where both are known: a price list that lags behind
-- shows here first. Above 2% over 50 calls is worth a look.
create or replace view price_drift as
select dialect, provider, model, count(*) as calls, sum(cost_reported_usd) as reported_usd,
    sum(cost_computed_pico) / 1e12 as computed_usd,
    sum(abs(cost_reported_usd - cost_computed_pico / 1e12)) / nullif(sum(cost_computed_pico) / 1e12, 0) as price_drift_ratio
from rollup.call
where is_billed and cost_reported_usd is not null and cost_computed_pico is not null
group by dialect, provider, model;
