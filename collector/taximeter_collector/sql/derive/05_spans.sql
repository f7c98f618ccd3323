-- The rows of the traces to look at (d_context), in {span} → d_span.
create or replace temp table d_span as
select * exclude (attributes, resource_attributes, events, content, content_bytes)
from {span}
where batch between $first_batch and $last_batch and trace_id in (select trace_id from d_context);
