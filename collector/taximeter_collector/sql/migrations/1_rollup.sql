-- Format 1 derives columns that older files have not: what spans are kept of is derived again, the rest stays.
insert into {file}.to_derive select distinct trace_id from span;
