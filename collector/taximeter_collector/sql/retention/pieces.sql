-- A day's batches in pieces of about $rows rows: first and last batch.
select min(batch), max(batch) from (
    select batch, sum(count(*)) over (order by batch) // $rows as piece
    from (select batch from {old}.export_request union all select batch from {old}.span
        union all select batch from {old}.log_record union all select batch from {old}.metric)
    group by batch)
group by piece order by 1;
