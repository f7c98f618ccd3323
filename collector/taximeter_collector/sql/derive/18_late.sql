-- Spans of no length that end a call → d_late.

-- A streamed call can be told twice: by a span that ends before the answer is there, and by one of no length that comes
-- after it with the usage. The second belongs to the latest such span of the same scope, model and input.
-- What is merged across traces must be found by macros/linked_traces.sql.
insert into d_late
with pair as (
    select p.trace_id, p.span_id, b.trace_id as call_trace_id, b.span_id as call_span_id, b.start_unix_nano
    from d_span p join d_span b on b.kind = p.kind and b.signal = p.signal and b.scope_name = p.scope_name
        and b.service_name is not distinct from p.service_name and b.request_model is not distinct from p.request_model
        and b.start_unix_nano <= p.start_unix_nano and p.start_unix_nano - b.start_unix_nano < 600_000_000_000
        and (b.trace_id = p.trace_id and b.parent_span_id is not distinct from p.parent_span_id
            or b.trace_id <> p.trace_id and (b.parent_span_id is null or p.parent_span_id is null))
    where p.kind = 'llm' and p.signal = 'span' and p.start_unix_nano = p.end_unix_nano
        and b.start_unix_nano < b.end_unix_nano and not coalesce(b.has_usage, false)
        and p.input_hash is not distinct from b.input_hash
)
select trace_id, span_id, call_trace_id, call_span_id from pair
qualify row_number() over (partition by trace_id, span_id order by start_unix_nano desc, call_span_id) = 1;
