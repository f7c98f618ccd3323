-- t_digest (the other store's requests) → t_batch: commits of which none is here, numbered after ours.
create or replace temp table t_batch as
select batch, (row_number() over (order by batch) + (select greatest(
        coalesce((select max(batch) from export_request), 0), (select derived_batch from rollup.progress))))::ubigint as new_batch
from t_digest t
group by batch
having not bool_or((digest, received_at) in (select (digest, received_at) from export_request));
