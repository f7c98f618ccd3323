-- What each repricing changed, call by call.
create or replace view repriced_calls as
select repricing_id, trace_id, span_id, start_time, is_billed,
    before.cost_pico / 1e12 as before_usd, before.price_source as before_source, before.price_version as before_version,
    after_pico / 1e12 as after_usd, after_source
from rollup.repriced_call;
