-- d_stored → d_priced: the stored prices in place of those of another price list, $price_version.
update d_priced p set
    first_cost_pico = c.first_cost_pico, first_price_source = c.first_price_source, first_price_version = c.first_price_version
from d_stored c where c.trace_id = p.trace_id and c.span_id = p.span_id;

update d_priced p set
    is_batch = c.is_batch, provider = c.provider, model = c.model, other_models = c.other_models,
    cost_lower_bound_pico = c.cost_lower_bound_pico, cost_upper_bound_pico = c.cost_upper_bound_pico,
    cost_pico = c.cost_pico, cost_computed_pico = c.cost_computed_pico,
    input_cost_pico = c.input_cost_pico, cache_read_cost_pico = c.cache_read_cost_pico,
    cache_write_cost_pico = c.cache_write_cost_pico, output_cost_pico = c.output_cost_pico,
    other_cost_pico = c.other_cost_pico, cache_saved_pico = c.cache_saved_pico,
    cost_quality = c.cost_quality, price_source = c.price_source, price_version = c.price_version
from d_stored c
where c.trace_id = p.trace_id and c.span_id = p.span_id and c.price_version <> $price_version;
