"""The digest: due once a day or week in its own zone, with what changed and why, in golden messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.alerts.conftest import Clock, MemoryStore

from taximeter_alerts import __main__ as alerts
from taximeter_alerts.digest.digest import period_due
from taximeter_alerts.digest.digests import Digests
from taximeter_alerts.judge.budgets import periods_of
from taximeter_alerts.notification_log import NotificationLog
from taximeter_alerts.notifiers.email import mail_message
from taximeter_alerts.notifiers.slack import slack_message
from taximeter_alerts.outbox.delivery import Delivery
from taximeter_alerts.outbox.notice import Notice
from taximeter_alerts.outbox.outbox import Outbox
from taximeter_alerts.rules.book import Budget, Digest
from taximeter_alerts.rules.rules_file import parse_rules
from taximeter_collector.client import QueryError

GOLDEN = Path(__file__).parent / "golden"
YAML = """\
version: 1
notify: {ops: {email: ops@example.org}, oncall: {pagerduty: env:KEY}}
digest:
  - {every: day, at: "08:00", zone: Europe/Berlin}
rules:
  - {name: team, watch: cost_usd, by: tenant, when: "budget $80 per day", zone: Europe/Berlin}
"""
DAY = datetime(2026, 11, 18, 23, 0, tzinfo=UTC)  # midnight in Berlin


def call(at: datetime, agent: str, usd: float, **values: Any) -> dict[str, Any]:
    """Return one call whose whole cost is its output."""
    pico = int(usd * 1e12)
    row = {
        "start_time": at, "agent_name": agent, "provider": "openai", "model": "m", "kind": "llm",
        "is_billed": True, "output_tokens": 100, "uncached_input_tokens": 0, "cost_pico": pico,
        "output_cost_pico": pico, "input_cost_pico": 0, "total_tokens": 100,
        "trace_id": f"{at}{agent}", "span_id": "s", "cache_reported": False,
    }  # fmt: skip
    return row | values


def day_of(store: MemoryStore, start: datetime, support: float, research: float) -> None:
    """Fill a day: ten requests, and one call an agent."""
    at = start + timedelta(hours=9)
    rows = [
        {"minute": at, "agent_name": "support", "requests": 10, "failed_requests": 1,
         "request_cost_pico": int((support + research) * 1e12), "unpriced_requests": 0,
         "cost_pico": int((support + research) * 1e12), "tokens": 100, "priced_tokens": 97,
         "loop_length_sum": 40, "loop_length_requests": 10, "thrash_cost_pico": int(3e12), "tenant": "acme"},
    ]  # fmt: skip
    store.add_rows("usage_minute", rows)
    store.add_rows("call", [call(at, "support", support), call(at, "research", research)])


class Process:
    """Digests without threads; `restart` is a new process on the same files."""

    def __init__(self, data_dir: Path, store: MemoryStore, clock: Clock, text: str = YAML) -> None:
        self.data_dir, self.store, self.clock, self.text = data_dir, store, clock, text
        self.told: list[tuple[datetime, Notice]] = []
        self.start()

    def start(self) -> None:
        book = parse_rules(self.text, "alerts.yaml", {"KEY": "k"})
        self.log = NotificationLog(self.data_dir)
        self.outbox = Outbox(self.log, {"ops": self, "oncall": self}, self.clock)
        self.digests = Digests(
            book, self.store, self.log, self.outbox, self.clock,
            lambda: "http://127.0.0.1:8501",
        )  # fmt: skip

    def restart(self) -> None:
        self.log.close()
        self.start()

    def send(self, notice: Notice, delivery: Delivery) -> None:
        self.told.append((self.clock(), notice))

    def tick(self) -> None:
        self.digests.tick()
        for receiver in self.outbox.receivers:
            while self.outbox.send_next(receiver):
                pass


@pytest.fixture
def process(tmp_path: Path, store: MemoryStore, clock: Clock) -> Iterator[Process]:
    clock.now = DAY + timedelta(hours=10)
    process = Process(tmp_path, store, clock)
    process.tick()
    yield process
    process.log.close()


def test_it_comes_once_a_day_at_its_hour_and_not_for_the_time_before_it_was_asked_for(
    process: Process, clock: Clock
) -> None:
    assert process.told == []
    for _ in range(3 * 24 * 4):
        clock.forward(minutes=15)
        process.tick()
        process.tick()
    # 08:00 in Berlin is 07:00 UTC.
    assert [(at.day, at.hour, n.title) for at, n in process.told] == [
        (20, 7, "Thursday 19 November"),
        (21, 7, "Friday 20 November"),
        (22, 7, "Saturday 21 November"),
    ]
    assert process.told[0][1].sentence == "No request came that day."


def test_a_restart_repeats_nothing_and_what_was_due_meanwhile_is_late_once(
    process: Process, clock: Clock
) -> None:
    clock.forward(hours=24)
    process.tick()
    process.restart()
    process.tick()
    assert len(process.told) == 1
    process.log.close()
    clock.forward(days=3)
    process.start()
    process.tick()
    process.tick()
    assert [n.title for _, n in process.told[1:]] == ["Sunday 22 November"]


def test_it_waits_for_a_collector_that_is_away(
    process: Process, store: MemoryStore, clock: Clock
) -> None:
    clock.forward(hours=24)
    store.error = QueryError("unreachable", "No collector answers.")
    process.tick()
    assert process.told == []
    store.error = None
    process.tick()
    assert len(process.told) == 1


@pytest.fixture
def notice(process: Process, store: MemoryStore, clock: Clock) -> Notice:
    day_of(store, DAY - timedelta(days=1), support=20.0, research=9.0)
    day_of(store, DAY, support=60.0, research=4.0)
    row = (
        "i1", "k", "{}", "critical", "2026-11-19T10:00:00.000000Z", "2026-11-19T10:01:00.000000Z",
    )  # fmt: skip
    process.log.execute(
        "insert into incident (id, group_key, labels, severity, opened_at, fired_at)"
        " values (?, ?, ?, ?, ?, ?)",
        *row,
    )
    process.log.execute(
        "insert into alert (incident, rule, labels, severity, opened_at, fired_at, sentence, peak)"
        " values ('i1', 'error-rate', '{\"agent_name\": \"support\"}', 'critical', ?, ?, '', '{}')",
        *row[4:],
    )
    clock.forward(hours=24)
    process.tick()
    ((_, notice),) = process.told
    return notice


def test_it_says_what_was_spent_why_and_what_happened(notice: Notice) -> None:
    assert notice.sentence == (
        "Spend at least $64.00 on 10 requests, +$35.00 (+121 %) against the day before;"
        " cost per request $6.40, error rate 10 %, loop length 4."
        " Only 97 % of the tokens have a price."
    )
    assert notice.cause == (
        "Why: price +$35.00.",
        "Changed most: support +$40.00 (now $60.00), research -$5.00 (now $4.00).",
        "To save: $3.00 for calls that only repeated a tool call.",
        "Alerts: 1 incident, 1 critical: error rate, support.",
        "Budgets: team, acme: at least 80 % of $80.00 per day.",
    )
    assert notice.link == (
        "http://127.0.0.1:8501/costs?start=2026-11-18T23%3A00Z&end=2026-11-19T23%3A00Z"
    )


def test_the_messages_are_the_golden_ones(notice: Notice) -> None:
    slack = json.dumps(slack_message(notice), indent=2, ensure_ascii=False) + "\n"
    mail = mail_message(notice, "k", "taximeter@example.org", ("ops@example.org",))
    text, page = (part.get_content() for part in mail.iter_parts())
    found = {"digest_slack.json": slack, "digest_mail.txt": text, "digest_mail.html": page}
    assert mail["Subject"] == "[taximeter] Digest: Thursday 19 November"
    assert found == {name: (GOLDEN / name).read_text(encoding="utf-8") for name in found}


def budgets(notice: Notice) -> list[str]:
    return [line for line in notice.cause if line.startswith("Budgets")]


def test_it_tells_the_use_of_its_own_period_not_todays(
    process: Process, store: MemoryStore, clock: Clock
) -> None:
    """Today's spend is not in the digest about yesterday, nor yesterday's in tomorrow's."""
    day_of(store, DAY, support=60.0, research=4.0)
    day_of(store, DAY + timedelta(days=1), support=7.0, research=70.0)
    clock.now = DAY + timedelta(days=1, hours=20)
    process.tick()
    clock.forward(days=1)
    process.tick()
    assert [budgets(notice) for _, notice in process.told] == [
        ["Budgets: team, acme: at least 80 % of $80.00 per day."],
        ["Budgets: team, acme: at least 96.2 % of $80.00 per day."],
    ]


def test_a_week_names_the_fullest_day_of_a_budget_and_where_its_month_stood(
    tmp_path: Path, store: MemoryStore, clock: Clock
) -> None:
    rules = """\
version: 1
notify: {ops: {email: ops@example.org}}
digest: [{every: week}]
rules:
  - {name: daily, watch: cost_usd, by: tenant, when: "budget $80 per day"}
  - {name: monthly, watch: cost_usd, when: "budget $150 per month"}
"""
    sunday = datetime(2026, 11, 22, tzinfo=UTC)
    for age, usd in ((13, 30.0), (5, 72.0), (2, 48.0), (0, 6.0), (-1, 79.0)):
        day_of(store, sunday - timedelta(days=age), support=usd, research=0.0)
    clock.now = sunday + timedelta(hours=9)
    process = Process(tmp_path, store, clock, rules)
    process.tick()
    clock.forward(days=1)
    process.tick()
    ((_, notice),) = process.told
    assert budgets(notice)[0].split("; ") == [
        "Budgets: monthly: at least 104 % of $150.00 per month",
        "daily, acme: at least 90 % of $80.00 per day (Tuesday 17 November).",
    ]
    process.log.close()


@pytest.mark.parametrize(
    ("zone", "told"),
    [
        ("America/Los_Angeles", ["24T00-24T08", "23T00-24T00"]),
        ("Europe/Berlin", ["23T00-23T23"]),
        ("UTC", ["23T00-24T00"]),
    ],
)
def test_a_day_of_a_budget_in_another_time_zone_is_told_where_most_of_it_lies(
    zone: str, told: list[str]
) -> None:
    """The day of UTC that ended in a day of California was told by no digest."""
    period = period_due(Digest("day", zone=zone), datetime(2026, 11, 24, 23, tzinfo=UTC))
    found = periods_of(Budget("b", 1.0, "day"), period.start, period.end)
    assert [f"{start:%dT%H}-{end:%dT%H}" for start, end in found] == told


def test_what_the_cache_missed_is_found(process: Process, store: MemoryStore, clock: Clock) -> None:
    at = DAY + timedelta(hours=9)
    common: dict[str, Any] = {
        "cache_reported": True, "prompt_tokens": 10_000, "cache_read_tokens": 0,
        "cache_write_tokens": 10_000, "cache_write_cost_pico": 125 * 10**10, "agent_span_id": "a",
        "trace_id": "t", "cache_saved_pico": -25 * 10**10, "cache_read_cost_pico": 0,
    }  # fmt: skip
    rows = [
        call(at + timedelta(minutes=n), "support", 1.25, end_time=at + timedelta(minutes=n, seconds=5),
             span_id=f"s{n}", **common)
        for n in range(4)
    ]  # fmt: skip
    store.add_rows("call", rows)
    clock.forward(hours=24)
    process.tick()
    ((_, notice),) = process.told
    (line,) = [line for line in notice.cause if line.startswith("To save")]
    assert "for cached prompts that nobody read again, support" in line


@pytest.mark.parametrize(
    ("every", "now", "start", "end"),
    [
        ("day", "2026-11-20T06:59", "2026-11-17T23:00", "2026-11-18T23:00"),
        ("day", "2026-11-20T07:00", "2026-11-18T23:00", "2026-11-19T23:00"),
        ("week", "2026-11-23T06:59", "2026-11-08T23:00", "2026-11-15T23:00"),
        ("week", "2026-11-23T07:00", "2026-11-15T23:00", "2026-11-22T23:00"),
        # The week in which summer time ends is an hour longer.
        ("week", "2026-10-26T07:00", "2026-10-18T22:00", "2026-10-25T23:00"),
    ],
)
def test_a_period_is_of_the_digests_time_zone(every: str, now: str, start: str, end: str) -> None:
    digest = Digest(every, zone="Europe/Berlin")  # type: ignore[arg-type]
    found = period_due(digest, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert [t.strftime("%Y-%m-%dT%H:%M") for t in (found.start, found.end)] == [start, end]


@pytest.mark.parametrize(
    ("digest", "said"),
    [
        ("{at: '08:00'}", "digest: key 'every' is missing: day or week"),
        ("{every: hour}", "digest: every: 'hour' is not allowed; use one of: day, week"),
        ("{every: day, at: 8am}", "digest: at: not a time of day: '8am' (write 08:00)"),
        ("{every: day, zone: Mars}", "unknown time zone 'Mars'"),
        ("{every: day, notify: opps}", "unknown receiver 'opps'; did you mean 'ops'?"),
        ("{every: day, notify: oncall}", "oncall pages somebody; a digest is for reading"),
        ("{every: day}\n  - {every: day}", "there is such a digest already"),
    ],
)
def test_a_digest_that_makes_no_sense_is_refused(digest: str, said: str) -> None:
    text = YAML[: YAML.index("  - ")] + f"  - {digest}\n"
    with pytest.raises(Exception, match=r"f:\d:\d") as caught:
        parse_rules(text, "f", {"KEY": "k"})
    assert said in str(caught.value)


def test_nobody_is_paged_by_a_digest() -> None:
    book = parse_rules(YAML, "f", {"KEY": "k"})
    assert [r.name for r in book.receivers_of_digest(book.digests[0])] == ["ops"]


def test_what_the_digest_says_can_be_seen_beside_the_process_and_nothing_is_sent(
    process: Process, store: MemoryStore, clock: Clock, notice: Notice, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(alerts, "ReadClient", lambda *_, **__: store)
    monkeypatch.setattr(alerts, "datetime", SimpleNamespace(now=lambda _: clock()))
    monkeypatch.setenv("KEY", "k")
    (tmp_path / "alerts.yaml").write_text(YAML + "dashboard_url: http://127.0.0.1:8501\n")
    monkeypatch.chdir(tmp_path)
    kept = len(process.log.rows("select * from outbox"))
    assert alerts.main(["digest", "--data-dir", str(tmp_path)]) == 0
    text = (GOLDEN / "digest_mail.txt").read_text(encoding="utf-8")
    assert capsys.readouterr().out == f"Sent each day at 08:00 Europe/Berlin to ops:\n\n{text}\n"
    assert len(process.log.rows("select * from outbox")) == kept


def test_without_a_digest_a_daily_one_is_shown(
    store: MemoryStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(alerts, "ReadClient", lambda *_, **__: store)
    (tmp_path / "alerts.yaml").write_text("version: 1\n")
    monkeypatch.chdir(tmp_path)
    assert alerts.main(["digest", "--data-dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("alerts.yaml asks for no digest; a daily one would say:")
    assert "No request came that day." in said
    store.error = QueryError("unreachable", "No collector answers.")
    assert alerts.main(["--data-dir", str(tmp_path), "digest"]) == 1
    assert capsys.readouterr().err == "taximeter alerts: No collector answers.\n"
