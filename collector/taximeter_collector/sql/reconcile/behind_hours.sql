-- What is stored of a cell by hour and service, counted or not: to lay beside the provider's own hours.
select date_trunc('hour', start_time) as hour, service_name, is_billed, billed_reason, status, count(*) as calls,
    sum(prompt_tokens) as prompt_tokens, sum(output_tokens) as output_tokens, arg_min(trace_id, start_time) as first_trace_id,
    arg_min(span_id, start_time) as first_span_id
from calls
where provider = $provider and start_time >= $from and start_time < $to
    and list_contains($models, coalesce(model, response_model, request_model, ''))
    and list_contains($tiers, case when is_batch then 'batch' else coalesce(lower(service_tier), 'standard') end)
group by all order by all;
