-- d_touched → d_context: also the traces whose spans hold another view of their calls.
create or replace temp table d_link as
select trace_id, kind, parent_span_id, response_id, service_name, start_time, end_time, uncached_input_tokens, cache_read_tokens
from span where trace_id in (select trace_id from d_touched) and kind in ('llm', 'embedding');

create or replace temp table d_context as
from d_touched union from linked_traces('d_link', 'span');
