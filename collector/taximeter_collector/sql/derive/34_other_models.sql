-- d_other → d_priced: what calls spent on other models, at those models' prices.
update d_priced p set
    cost_pico = p.cost_pico + o.total_pico, cost_computed_pico = p.cost_pico + o.total_pico, input_cost_pico = p.input_cost_pico + o.input_pico,
    cache_read_cost_pico = p.cache_read_cost_pico + o.cache_read_pico, cache_write_cost_pico = p.cache_write_cost_pico + o.cache_write_pico,
    output_cost_pico = p.output_cost_pico + o.output_pico, other_cost_pico = p.other_cost_pico + o.other_pico,
    cache_saved_pico = p.cache_saved_pico + o.cache_saved_pico,
    price_source = p.price_source || '; ' || o.source,
    cost_quality = case when p.cost_pico is null or o.total_pico is null then 'unpriced'
        when p.cost_quality = 'exact' then o.quality else p.cost_quality end,
    cost_lower_bound_pico = case when o.other_models is null then p.cost_lower_bound_pico end,
    cost_upper_bound_pico = case when o.other_models is null then p.cost_upper_bound_pico end,
    other_models = o.other_models
from d_other o
where o.trace_id = p.trace_id and o.span_id = p.span_id;
