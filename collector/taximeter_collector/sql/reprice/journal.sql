-- Runs in the transaction that replaces the rows.
insert into rollup.repriced_call by name
select $repricing_id::integer as repricing_id, trace_id, span_id, start_time, is_billed, after_pico, after_source, before,
    before_lower_bound_pico, before_upper_bound_pico
from d_change;
