-- A changed call remembers what it cost when it was first priced.
update d_priced p set
    first_cost_pico = case when d.before.first_price_version is null then d.before.cost_pico else d.before.first_cost_pico end,
    first_price_source = case when d.before.first_price_version is null then d.before.price_source else d.before.first_price_source end,
    first_price_version = coalesce(d.before.first_price_version, d.before.price_version)
from d_change d where d.trace_id = p.trace_id and d.span_id = p.span_id;
