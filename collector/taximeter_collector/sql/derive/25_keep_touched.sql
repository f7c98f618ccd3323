-- The other traces were needed to see whose call is billed; their own rows stay as they are stored.
delete from d_call where trace_id not in (select trace_id from d_touched);
delete from d_span where trace_id not in (select trace_id from d_touched);
delete from d_tree where trace_id not in (select trace_id from d_touched);
delete from d_trace where trace_id not in (select trace_id from d_touched);
delete from d_aside where trace_id not in (select trace_id from d_touched);
delete from d_told where trace_id not in (select trace_id from d_touched);
