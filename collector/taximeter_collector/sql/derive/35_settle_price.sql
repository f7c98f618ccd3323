-- d_priced → d_priced, settled: other models' tokens, a stated cost that counts, and what was priced before.
-- $price_version: the price list that priced d_priced.

-- Parts of a stated cost are not known; all of it stands as "other", so that the parts always add up.
create or replace temp table d_priced as
with whole as (
    select p.* replace (
            case when o.trace_id is null then cost_pico else cost_pico + o.total_pico end as cost_pico,
            case when o.trace_id is null then input_cost_pico else input_cost_pico + o.input_pico end as input_cost_pico,
            case when o.trace_id is null then cache_read_cost_pico else cache_read_cost_pico + o.cache_read_pico end as cache_read_cost_pico,
            case when o.trace_id is null then cache_write_cost_pico else cache_write_cost_pico + o.cache_write_pico end as cache_write_cost_pico,
            case when o.trace_id is null then output_cost_pico else output_cost_pico + o.output_pico end as output_cost_pico,
            case when o.trace_id is null then other_cost_pico else other_cost_pico + o.other_pico end as other_cost_pico,
            case when o.trace_id is null then cache_saved_pico else cache_saved_pico + o.saved_pico end as cache_saved_pico,
            case when o.trace_id is null then price_source else price_source || '; ' || o.source end as price_source,
            case when o.trace_id is null then cost_quality
                when cost_pico is null or o.total_pico is null then 'unpriced'
                when cost_quality = 'exact' then o.quality else cost_quality end as cost_quality),
        o.other_models
    from d_priced p left join (select * rename (cache_saved_pico as saved_pico) from d_other) o using (trace_id, span_id)
), judged as (
    select w.*, w.cost_pico as cost_computed_pico, $price_version as price_version,
        case when w.cost_reported_usd between 0 and 1e6 and (r.value = 'always' or (r.value = 'fallback' and w.cost_pico is null))
            then round(w.cost_reported_usd * 1e12)::hugeint end as stated_pico,
        'stated by ' || w.dialect || '; ' || r.source as stated_source
    from whole w left join d_rule r on r.kind = 'reported' and r.trace_id = w.trace_id and r.span_id = w.span_id
)
select j.* exclude (stated_pico, stated_source) replace (
        coalesce(stated_pico, cost_pico) as cost_pico,
        case when coalesce(stated_pico, cost_pico) is null and other_models is null then cost_lower_bound_pico end as cost_lower_bound_pico,
        case when coalesce(stated_pico, cost_pico) is null and other_models is null then cost_upper_bound_pico end as cost_upper_bound_pico,
        case when stated_pico is null then input_cost_pico else 0 end as input_cost_pico,
        case when stated_pico is null then cache_read_cost_pico else 0 end as cache_read_cost_pico,
        case when stated_pico is null then cache_write_cost_pico else 0 end as cache_write_cost_pico,
        case when stated_pico is null then output_cost_pico else 0 end as output_cost_pico,
        coalesce(stated_pico, other_cost_pico) as other_cost_pico,
        case when stated_pico is null then cost_quality else 'reported' end as cost_quality,
        case when stated_pico is null then price_source else stated_source end as price_source),
    null::hugeint as first_cost_pico, null::varchar as first_price_source, null::varchar as first_price_version
from judged j;
