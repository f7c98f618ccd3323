-- d_priced: a stated cost that counts (d_rule). Its parts are not known; all of it stands as "other", so that the parts
-- always add up.
update d_priced p set
    cost_pico = round(p.cost_reported_usd * 1e12)::hugeint, other_cost_pico = round(p.cost_reported_usd * 1e12)::hugeint,
    input_cost_pico = 0, cache_read_cost_pico = 0, cache_write_cost_pico = 0, output_cost_pico = 0,
    cost_lower_bound_pico = null, cost_upper_bound_pico = null, cost_quality = 'reported',
    price_source = 'stated by ' || p.dialect || '; ' || r.source
from d_rule r
where r.kind = 'reported' and r.trace_id = p.trace_id and r.span_id = p.span_id and p.cost_reported_usd between 0 and 1e6
    and (r.value = 'always' or r.value = 'fallback' and p.cost_pico is null);
