-- How far the roll-ups have followed the spans: one row.
create table if not exists progress (derived_batch ubigint not null);
