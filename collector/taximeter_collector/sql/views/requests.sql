-- One row per request. Abandoned is a matter of time: the root has not come and the calls do not tell.
create or replace view requests as
select * exclude (first_batch, first_time, last_time, is_request, termination_reason),
    case when termination_reason = 'unknown' and not is_complete and last_received_at < now() - interval 10 minutes
        then 'abandoned' else termination_reason end as termination_reason,
    cost_pico / 1e12 as cost_usd, cache_saved_pico / 1e12 as cache_saved_usd, thrash_cost_pico / 1e12 as thrash_cost_usd
from rollup.request
where is_request is not false;
