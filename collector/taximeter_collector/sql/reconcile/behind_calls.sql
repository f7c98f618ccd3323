-- The calls of a cell: those without sound usage first, then the dearest.
select trace_id, span_id, start_time, service_name, model, service_tier, uncached_input_tokens, cache_read_tokens,
    cache_write_short_tokens, cache_write_long_tokens, output_tokens, usage_conflict, basis_evidence, cost_usd, price_source
from calls
where is_billed and provider = $provider and start_time >= $from and start_time < $to
    and list_contains($models, coalesce(model, response_model, request_model, ''))
    and list_contains($tiers, case when is_batch then 'batch' else coalesce(lower(service_tier), 'standard') end)
order by coalesce(usage_conflict, false) or total_tokens is null desc, cost_pico desc nulls last, trace_id, span_id;
