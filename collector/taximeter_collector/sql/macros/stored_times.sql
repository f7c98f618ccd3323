-- Between which times the stored rows of the traces in table `traces` start (tables `requests`, `asides`), and their first batch; of rows that an older
-- version wrote this is not known.
create or replace macro stored_times(traces, requests, asides) as table
select {'first': coalesce(min(coalesce(first_time, '-infinity')), 'infinity'::timestamptz),
        'last': coalesce(max(coalesce(last_time, 'infinity')), '-infinity'::timestamptz)} as rows_between,
    min(first_batch) as first_batch
from (
    select first_time, last_time, first_batch from query_table(requests) where request_id in (select trace_id from query_table(traces))
    union all
    select first_time, last_time, first_batch from query_table(asides) where trace_id in (select trace_id from query_table(traces))
);
