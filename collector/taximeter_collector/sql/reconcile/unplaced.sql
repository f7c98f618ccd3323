-- Billed calls whose provider is not known: no export can be laid beside them.
select count(*) as calls from calls
where is_billed and provider is null and start_time >= $from and start_time < $to;
