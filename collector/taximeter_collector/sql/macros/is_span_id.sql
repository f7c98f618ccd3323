-- OTLP: a trace id of 16 bytes and a span id of 8, neither all zero.
create or replace macro is_span_id(trace_id, span_id) as
    octet_length(trace_id) = 16 and octet_length(span_id) = 8
    and trace_id <> '\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'::blob
    and span_id <> '\x00\x00\x00\x00\x00\x00\x00\x00'::blob;
