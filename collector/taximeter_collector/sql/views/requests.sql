create or replace view requests as
select * exclude (first_batch), cost_pico / 1e12 as cost_usd, cache_saved_pico / 1e12 as cache_saved_usd,
    thrash_cost_pico / 1e12 as thrash_cost_usd
from rollup.request;
