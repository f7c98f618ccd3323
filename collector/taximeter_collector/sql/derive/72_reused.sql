-- Ids that were found to be given to call after call (d_reused) → reused_key; what was merged by them before is derived again.
insert into rollup.to_derive
select distinct trace_id from rollup.call_link
where link_key in (from d_reused except from rollup.reused_key) and trace_id not in (from d_touched);

insert into rollup.reused_key from d_reused except from rollup.reused_key;
