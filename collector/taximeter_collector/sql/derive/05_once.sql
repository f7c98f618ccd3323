-- Each span once: the last that came of it. A span replaces the log event that stood for it.
create or replace temp table d_span as
from d_span
qualify row_number() over (partition by trace_id, span_id
    order by signal = 'span' desc, end_unix_nano desc, batch desc, output_tokens desc nulls last) = 1;
