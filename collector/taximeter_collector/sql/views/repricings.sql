-- When history was priced again, with which list, and what it came to; `taximeter prices reprice` writes it.
create or replace view repricings as
select repricing_id, started_at, finished_at, undone_at, price_version, window_start, window_end, calls,
    before_pico / 1e12 as before_usd, after_pico / 1e12 as after_usd, (after_pico - before_pico) / 1e12 as difference_usd
from rollup.repricing;
