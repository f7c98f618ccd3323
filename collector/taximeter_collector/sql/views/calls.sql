create or replace view calls as
select * exclude (cache_reported, is_retry, resend_count), cost_pico / 1e12 as cost_usd, cache_reported, is_retry, resend_count
from rollup.call;
