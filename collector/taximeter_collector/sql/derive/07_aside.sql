-- Traces that hold no call, tool or agent of their own are no requests → d_aside.
create or replace temp table d_aside as
from d_first
where trace_id not in (select trace_id from d_span where signal <> 'metric' and kind <> 'other'
    and (kind not in ('agent', 'chain', 'workflow', 'step') or trace_id not in (select trace_id from d_told)));
delete from d_span where signal <> 'metric' and trace_id in (select trace_id from d_aside);
