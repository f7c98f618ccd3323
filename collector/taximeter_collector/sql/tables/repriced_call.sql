-- One row a call that a repricing changed: what is needed to undo it.
create table if not exists repriced_call (
    repricing_id integer not null, trace_id varchar not null, span_id varchar not null, start_time timestamptz,
    before_lower_bound_pico hugeint, before_upper_bound_pico hugeint,
    is_billed boolean, after_pico hugeint, after_source varchar,
    before struct(provider varchar, model varchar, is_batch boolean,
        other_models struct(model varchar, tokens bigint, cost_pico bigint)[],
        cost_pico hugeint, cost_computed_pico hugeint, input_cost_pico hugeint, cache_read_cost_pico hugeint,
        cache_write_cost_pico hugeint, output_cost_pico hugeint, other_cost_pico hugeint, cache_saved_pico hugeint,
        cost_quality varchar, price_source varchar, price_version varchar,
        first_cost_pico hugeint, first_price_source varchar, first_price_version varchar)
);
