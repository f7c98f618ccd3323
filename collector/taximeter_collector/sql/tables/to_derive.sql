-- Traces to derive again when there is nothing else to do: a migration has changed what is derived.
create table if not exists to_derive (trace_id varchar not null);
