-- How far the roll-ups have followed the spans, and the first batch whose spans are still kept: one row.
create table if not exists progress (derived_batch ubigint not null, kept_from_batch ubigint);
