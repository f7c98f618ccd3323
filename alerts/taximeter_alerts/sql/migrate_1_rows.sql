insert into incident (id, group_key, labels, severity, opened_at, fired_at, resolved_at, reason,
                      times, acked_at, acked_by)
select id, rule || labels, labels, severity, opened_at, opened_at, resolved_at, reason, times,
       acked_at, acked_by
from incident_0;
insert into alert (incident, rule, labels, severity, opened_at, fired_at, resolved_at, reason,
                   times, sentence, peak)
select id, rule, labels, severity, opened_at, opened_at, resolved_at, reason, times, sentence,
       coalesce(peak, '{}')
from incident_0;
insert into thread (incident, receiver, told, severity, notified_at)
select distinct i.id, o.receiver, json_array(json_array(i.rule, i.labels)), i.severity,
       i.notified_at
from incident_0 i join outbox o on o.incident = i.id
where i.resolved_at is null and i.notified > 0;
drop table incident_0;
