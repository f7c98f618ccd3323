-- The calls that the provider books on the other side of a day's edge.
select trace_id, span_id, start_time, end_time, model, total_tokens, cost_usd
from calls
where is_billed and start_time >= $from and list_contains($spans, span_id)
order by start_time, span_id;
