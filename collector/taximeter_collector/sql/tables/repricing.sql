-- One row a time that history was priced again: when, with which list, over which calls' start, and what it came to.
create table if not exists repricing (
    repricing_id integer not null, started_at timestamptz not null, finished_at timestamptz, undone_at timestamptz,
    price_version varchar not null, window_start timestamptz, window_end timestamptz,
    calls bigint, before_pico hugeint, after_pico hugeint -- of billed calls; an unpriced call counts 0 here
);
