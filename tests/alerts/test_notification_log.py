"""alerts.sqlite: an older file is taken over, a newer one refused."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from tests.alerts.timeline import Timeline

from taximeter_alerts.notification_log import NewerFile, NotificationLog

VERSION_0 = """
create table meta (key text primary key, value text) strict;
create table state (
    rule text, labels text, state text not null, verdict text, sentence text, incident text,
    primary key (rule, labels)) strict;
create table incident (
    id text primary key, rule text not null, labels text not null, severity text not null,
    opened_at text not null, resolved_at text, reason text, times integer not null default 1,
    sentence text not null, peak text, notified integer not null default 0, notified_at text,
    acked_at text, acked_by text) strict;
create unique index one_open_incident on incident (rule, labels) where resolved_at is null;
create table silence (
    id text primary key, matchers text not null, author text, comment text,
    created_at text not null, ends_at text not null, ended_at text) strict;
create table outbox (
    id text primary key, incident text not null, transition text not null, receiver text not null,
    notice text not null, status text not null, attempts integer not null default 0,
    created_at text not null, next_at text not null, sent_at text, last_error text) strict;
"""
AT = "2026-11-20T13:00:00.000000Z"
LABELS = json.dumps({"agent_name": "a"})


def test_what_fired_before_the_upgrade_is_resolved_after_it(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "alerts.sqlite") as old:
        old.executescript(VERSION_0)
        state = {"status": "firing", "since": AT, "evaluated_at": AT, "breached_at": AT, "times": 1}
        old.execute(
            "insert into state values ('cost', ?, ?, '{\"outcome\": \"breach\"}', 's', null)",
            (LABELS, json.dumps(state)),
        )
        old.execute(
            "insert into incident values ('i1', 'cost', ?, 'warning', ?, null, null, 1, 's', null,"
            " 1, ?, null, null)",
            (LABELS, AT, AT),
        )
        old.execute(
            "insert into outbox values ('o1', 'i1', 'firing', 'ops', '{}', 'sent', 1, ?, ?, ?, null)",
            (AT, AT, AT),
        )
        old.execute("insert into silence values ('s1', '{}', '', '', ?, ?, null)", (AT, AT))
    old.close()
    timeline = Timeline(tmp_path)
    timeline.run(1, (("cost", "a"),))
    timeline.run(20)
    (incident,) = timeline.rows("incident")
    assert (incident["id"], incident["resolved_at"] is None) == ("i1", False)
    assert [kind for _, kind in timeline.told] == ["resolved"]
    timeline.close()


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "alerts.sqlite") as newer:
        newer.execute("pragma user_version = 99")
    newer.close()
    with pytest.raises(NewerFile, match="newer taximeter"):
        NotificationLog(tmp_path)
