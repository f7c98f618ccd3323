-- Traces that are no requests of their own: metrics, and those whose calls another signal tells better.
create table if not exists aside (
    trace_id varchar not null, first_batch ubigint not null,
    first_time timestamptz, last_time timestamptz -- when its first and its last row start
);
