-- Spans per request whose ids OTLP calls invalid.
select request, count(*)::integer from in_span where not is_span_id(trace_id, span_id) group by request;
