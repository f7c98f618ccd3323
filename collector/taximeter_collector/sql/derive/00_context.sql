-- d_context: also what holds another view of a call of a trace that the new spans are linked to (d_linked).
set variable stored_time = (select rows_between from stored_times('d_linked', 'rollup.request', 'rollup.aside'));

create or replace temp table d_link as
from rollup.call_link where trace_id in (select trace_id from d_linked)
    and start_time between getvariable('stored_time').first and getvariable('stored_time').last;

set variable link_time = (select {'first': min(start_time), 'last': max(end_time)} from d_link);

create or replace temp table d_context as
from d_touched union select trace_id from same_key('d_link', 'rollup.call_link', 'd_reused')
union from linked_traces('d_link', 'rollup.call_link') union from linked_signals('d_link', 'rollup.call_link');
