-- DATA_DIR/alerts.sqlite. Times are UTC text of equal width, so that text sorts as time.
create table if not exists meta (key text primary key, value text) strict;

create table if not exists state (
    rule text, labels text, state text not null, verdict text, sentence text,
    primary key (rule, labels)) strict;

-- One thing that is wrong for one group (by default an agent); its alerts are below.
create table if not exists incident (
    id text primary key, group_key text not null, labels text not null, severity text not null,
    opened_at text not null, fired_at text not null, resolved_at text, reason text,
    times integer not null default 1,
    acked_at text, acked_by text, snoozed_until text, snoozed_by text) strict;
create unique index if not exists one_open_incident
    on incident (group_key) where resolved_at is null;

create table if not exists alert (
    incident text not null, rule text not null, labels text not null, severity text not null,
    opened_at text not null, fired_at text not null, resolved_at text, reason text,
    times integer not null default 1, sentence text not null, peak text not null,
    primary key (incident, rule, labels)) strict;
create unique index if not exists one_open_alert
    on alert (rule, labels) where resolved_at is null;

-- What a receiver was told of an incident, and where its channel keeps the first message.
create table if not exists thread (
    incident text not null, receiver text not null, told text not null, severity text not null,
    notified_at text not null, remote text,
    primary key (incident, receiver)) strict;

create table if not exists silence (
    id text primary key, matchers text not null, author text, comment text,
    created_at text not null, starts_at text not null, ends_at text not null, ended_at text)
    strict;

-- What people and deploy scripts mark on charts: a moment, or a span if it has an `until`.
create table if not exists annotation (
    id text primary key, at text not null, until text, text text not null,
    agent_name text, service_name text, author text, created_at text not null) strict;

-- Who replaced alerts.yaml through the API, and by which text.
create table if not exists rules_change (
    at text not null, author text, file text not null, digest text not null) strict;

create table if not exists outbox (
    id text primary key, incident text not null, transition text not null, receiver text not null,
    notice text not null, status text not null, attempts integer not null default 0,
    created_at text not null, next_at text not null, sent_at text, last_error text) strict;
create index if not exists outbox_due on outbox (status, receiver, next_at);
