-- Digest of each stored request body, committed with its rows: a retried export is stored once.
create table if not exists export_request (
    digest blob not null, signal varchar not null, received_at timestamptz not null,
    batch ubigint not null, accepted integer not null, rejected integer not null
);
