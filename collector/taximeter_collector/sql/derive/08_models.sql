-- A call that names no model takes the one of the nearest span above it that does.
update d_span set request_model = found.request_model
from (
    with recursive up as (
        select trace_id, span_id as call_id, parent_span_id as above, 1 as height from d_span
        where kind in ('llm', 'embedding') and has_usage and request_model is null and response_model is null
        union
        select u.trace_id, u.call_id, s.parent_span_id, height + 1
        from up u join d_span s on s.trace_id = u.trace_id and s.span_id = u.above
        where s.request_model is null and height < 64
    )
    select u.trace_id, u.call_id, arg_min(s.request_model, height) as request_model
    from up u join d_span s on s.trace_id = u.trace_id and s.span_id = u.above
    where s.request_model is not null group by all
) as found
where d_span.trace_id = found.trace_id and d_span.span_id = found.call_id;
