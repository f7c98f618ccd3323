-- The rows of the traces to look at (d_context), each once → d_span. A span replaces the log event that stood for it.
create or replace temp table d_span as
select * exclude (attributes, resource_attributes, events, content)
from span
where batch between $first_batch and $last_batch and trace_id in (select trace_id from d_context)
qualify row_number() over (partition by trace_id, span_id
    order by signal = 'span' desc, end_unix_nano desc, batch desc, output_tokens desc nulls last) = 1;
