-- Version 0 had one incident a rule and group, and no threads.
alter table incident rename to incident_0;
drop index one_open_incident;
alter table silence add column starts_at text not null default '';
alter table state drop column incident;
