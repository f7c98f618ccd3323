-- When each trace came → d_first; and what only some steps fill, empty: d_told, what others tell better (shown, never billed),
-- d_late, d_shadow.
create or replace temp table d_first as
select trace_id, min(batch) as first_batch from d_span group by trace_id;

create or replace temp table d_told as
select *, null::varchar as reason, null::varchar as kept_trace_id, null::varchar as kept_span_id from d_span limit 0;

create or replace temp table d_late (trace_id varchar, span_id varchar, call_trace_id varchar, call_span_id varchar);

create or replace temp table d_shadow (trace_id varchar);
