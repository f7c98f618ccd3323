-- Put back what a repricing changed, where nothing has changed it since.
update rollup.call c set
    provider = j.before.provider, model = j.before.model, is_batch = j.before.is_batch,
    cost_lower_bound_pico = j.before_lower_bound_pico, cost_upper_bound_pico = j.before_upper_bound_pico,
    other_models = j.before.other_models, cost_pico = j.before.cost_pico,
    cost_computed_pico = j.before.cost_computed_pico, input_cost_pico = j.before.input_cost_pico,
    cache_read_cost_pico = j.before.cache_read_cost_pico, cache_write_cost_pico = j.before.cache_write_cost_pico,
    output_cost_pico = j.before.output_cost_pico, other_cost_pico = j.before.other_cost_pico,
    cache_saved_pico = j.before.cache_saved_pico, cost_quality = j.before.cost_quality,
    price_source = j.before.price_source, price_version = j.before.price_version,
    first_cost_pico = j.before.first_cost_pico, first_price_source = j.before.first_price_source,
    first_price_version = j.before.first_price_version
from rollup.repriced_call j
where j.repricing_id = $repricing_id and j.trace_id = c.trace_id and j.span_id = c.span_id
    and c.price_version = $price_version and c.cost_pico is not distinct from j.after_pico
    and j.trace_id in (select trace_id from d_touched);
