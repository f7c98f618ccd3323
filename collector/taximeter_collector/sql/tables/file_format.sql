-- The version of a data file's layout: one row.
create table if not exists file_format (version integer not null);
