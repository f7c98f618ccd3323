-- d_priced against what is stored → d_change: the calls that started in [$from, $to) and cost something else now.
create or replace temp table d_change as
select p.trace_id, p.span_id, c.start_time, c.is_billed, p.provider, p.model,
    c.cost_lower_bound_pico as before_lower_bound_pico, c.cost_upper_bound_pico as before_upper_bound_pico,
    c.cost_pico as before_pico, p.cost_pico as after_pico, p.price_source as after_source,
    {'provider': c.provider, 'model': c.model, 'is_batch': c.is_batch, 'other_models': c.other_models,
        'cost_pico': c.cost_pico, 'cost_computed_pico': c.cost_computed_pico, 'input_cost_pico': c.input_cost_pico,
        'cache_read_cost_pico': c.cache_read_cost_pico, 'cache_write_cost_pico': c.cache_write_cost_pico,
        'output_cost_pico': c.output_cost_pico, 'other_cost_pico': c.other_cost_pico,
        'cache_saved_pico': c.cache_saved_pico, 'cost_quality': c.cost_quality, 'price_source': c.price_source,
        'price_version': c.price_version, 'first_cost_pico': c.first_cost_pico,
        'first_price_source': c.first_price_source, 'first_price_version': c.first_price_version} as before
from d_priced p join rollup.call c using (trace_id, span_id)
where c.start_time >= coalesce($from::timestamptz, '-infinity') and c.start_time < coalesce($to::timestamptz, 'infinity')
    and (c.cost_pico, c.cost_computed_pico, c.input_cost_pico, c.cache_read_cost_pico, c.cache_write_cost_pico,
            c.output_cost_pico, c.other_cost_pico, c.cost_quality, c.cost_lower_bound_pico, c.cost_upper_bound_pico)
        is distinct from (p.cost_pico, p.cost_computed_pico, p.input_cost_pico, p.cache_read_cost_pico, p.cache_write_cost_pico,
            p.output_cost_pico, p.other_cost_pico, p.cost_quality, p.cost_lower_bound_pico, p.cost_upper_bound_pico);

-- Every other call stays as it is stored.
create or replace temp table d_stored as
select c.* from rollup.call c join d_priced p using (trace_id, span_id)
where not exists (from d_change d where d.trace_id = c.trace_id and d.span_id = c.span_id);
