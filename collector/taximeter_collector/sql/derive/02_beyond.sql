-- A late span of a trace whose first spans are no longer kept: the trace can't be derived again, its rows stay as stored.
create or replace temp table d_beyond as
select request_id as trace_id from rollup.request
where request_id in (select trace_id from d_context) and first_batch < (select kept_from_batch from rollup.progress)
union all
select trace_id from rollup.aside
where trace_id in (select trace_id from d_context) and first_batch < (select kept_from_batch from rollup.progress);

delete from d_touched where trace_id in (select trace_id from d_beyond);
delete from d_context where trace_id in (select trace_id from d_beyond);
