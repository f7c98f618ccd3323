"""Whole timelines with a clock in hand: data goes in at t, incidents and notices come out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.alerts.conftest import Clock, MemoryStore

from taximeter_alerts.evaluator import CATCH_UP, Evaluator, minutes_to_evaluate
from taximeter_alerts.incidents.board import Board
from taximeter_alerts.incidents.dispatcher import Dispatcher
from taximeter_alerts.judge.cause import Cause
from taximeter_alerts.notification_log import AlreadyRunning, NotificationLog
from taximeter_alerts.outbox.delivery import Delivery
from taximeter_alerts.outbox.notice import Notice
from taximeter_alerts.outbox.outbox import Outbox
from taximeter_alerts.rules.rules_file import parse_rules
from taximeter_collector.client import QueryError

RULE = (
    "rules: [{name: cost-per-request, watch: cost_per_request_usd, by: agent_name,"
    " when: spike 2x, at_least: {impact: $1}}]\n"
)
OWN = "version: 1\nsettle: 0s\ngroup_wait: 0s\ndefaults: false\n"
OPS = f"{OWN}notify: {{ops: {{email: ops@example.org}}}}\n"


class Inbox:
    """A receiver that takes everything."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def send(self, notice: Notice, delivery: Delivery) -> None:
        self.notices.append(notice)

    @property
    def kinds(self) -> list[str]:
        return [notice.kind for notice in self.notices]


class Process:
    """An alerts process without its threads; `restart` is a new one on the same data dir."""

    def __init__(self, data_dir: Path, store: MemoryStore, clock: Clock) -> None:
        self.data_dir, self.store, self.clock = data_dir, store, clock
        self.inbox = Inbox()
        self.start(OPS + RULE)

    def start(self, rules: str) -> None:
        book = parse_rules(rules, "alerts.yaml", {})
        self.log = NotificationLog(self.data_dir)
        receivers = {receiver.name: self.inbox for receiver in book.receivers}
        self.outbox = Outbox(self.log, receivers, self.clock)
        dispatcher = Dispatcher(book, self.log, self.outbox, lambda: "http://127.0.0.1:8501")
        self.board = Board(book, self.log, dispatcher)
        self.evaluator = Evaluator(book, self.store, self.board, self.clock)

    def restart(self, rules: str = OPS + RULE) -> None:
        self.log.close()
        self.start(rules)

    def tick(self) -> None:
        self.evaluator.tick()
        for receiver in self.outbox.receivers:
            while self.outbox.send_next(receiver):
                pass

    def run(self, minutes: int, agent: str = "support", **traffic: Any) -> None:
        """Let minutes pass, each with this traffic (none: silence)."""
        for _ in range(minutes):
            if traffic:
                self.store.add_minutes(agent, self.clock.now.replace(second=0), 1, **traffic)
            self.clock.forward(minutes=1)
            self.tick()

    def status(self, rule: str = "cost-per-request") -> str:
        return next(c.state.status for (n, _), c in self.board.current.items() if n == rule)

    def incidents(self) -> list[dict[str, Any]]:
        return self.log.rows("select * from alert order by opened_at")


USUAL: dict[str, Any] = {"requests": 6, "cost_usd": 0.05}
DEAR: dict[str, Any] = {"requests": 6, "cost_usd": 0.6}


@pytest.fixture
def process(tmp_path: Path, store: MemoryStore, clock: Clock) -> Iterator[Process]:
    start = clock.now.replace(second=0)
    store.add_minutes("support", start - timedelta(days=5), 5 * 1440, **USUAL)
    process = Process(tmp_path, store, clock)
    # The six hours before are no part of these stories.
    process.board.set_watermark(start)
    yield process
    process.log.close()


def test_it_fires_once_explains_itself_and_resolves_once(process: Process) -> None:
    process.run(10, **USUAL)
    assert process.inbox.kinds == []
    process.run(20, **DEAR)
    assert process.inbox.kinds == ["firing"]
    process.run(25, **USUAL)
    assert process.inbox.kinds == ["firing", "resolved"]
    firing, resolved = process.inbox.notices
    assert "support: cost per request $" in firing.sentence and "extra" in firing.sentence
    assert firing.link is not None and "agent=support" in firing.link and "start=" in firing.link
    assert firing.chart is not None and firing.chart.unit == "USD"
    assert firing.chart.values[0] == pytest.approx(0.05)
    assert max(value or 0.0 for value in firing.chart.values) > 0.1
    assert "Back to usual after" in resolved.sentence and "At its worst" in resolved.sentence
    assert [row["resolved_at"] is not None for row in process.incidents()] == [True]


def test_a_spike_needs_three_evaluations_with_new_data(process: Process) -> None:
    process.run(1, requests=60, cost_usd=3.0)
    assert process.status() == "pending"
    process.run(2, requests=60, cost_usd=3.0)
    assert process.status() == "firing"


def test_silence_of_the_agent_resolves_nothing_for_six_hours(process: Process) -> None:
    process.run(10, requests=60, cost_usd=3.0)
    process.clock.forward(hours=5)
    process.tick()
    assert process.status() == "firing"
    # The last requests leave the 24 h window; only then six hours without data begin.
    process.clock.forward(hours=31)
    process.tick()
    assert process.inbox.kinds[0] == "firing"
    assert process.inbox.kinds[-1] == "resolved"
    assert "No traffic after" in process.inbox.notices[-1].sentence


def test_after_a_pause_it_catches_up_silently_and_tells_what_still_fires(
    process: Process, store: MemoryStore, clock: Clock
) -> None:
    at = clock.now.replace(second=0)
    store.add_minutes("support", at, 40, requests=60, cost_usd=3.0)
    store.add_minutes("support", at + timedelta(minutes=40), 80, **USUAL)
    clock.forward(hours=2)
    process.tick()
    assert process.inbox.kinds == []
    assert [row["reason"] for row in process.incidents()] == ["back to usual"]


def test_what_fired_in_a_minute_that_was_caught_up_is_told_with_its_cause(
    process: Process, store: MemoryStore, clock: Clock
) -> None:
    """An evaluation that was late, or a start: the moment of firing is not the newest minute."""
    at = clock.now.replace(second=0)
    store.add_minutes("support", at, 40, requests=60, cost_usd=3.0)
    clock.forward(minutes=40)
    process.tick()
    (firing,) = process.inbox.notices
    assert (firing.kind, firing.first[:22]) == ("firing", "Open the first example")
    assert firing.chart is not None
    assert process.board.unexplained() == set()


def test_a_back_fill_that_comes_late_is_evaluated(
    tmp_path: Path, store: MemoryStore, clock: Clock
) -> None:
    process = Process(tmp_path, store, clock)
    process.tick()
    at = clock.now.replace(second=0)
    store.add_minutes("support", at - timedelta(days=3), 3 * 1440 - 30, **USUAL)
    store.add_minutes("support", at - timedelta(minutes=30), 30, requests=60, cost_usd=3.0)
    clock.forward(minutes=2)
    process.tick()
    process.log.close()
    assert process.inbox.kinds == ["firing"]


def test_a_clock_set_back_evaluates_nothing_twice_and_goes_on(process: Process) -> None:
    process.run(10, requests=60, cost_usd=3.0)
    assert process.inbox.kinds == ["firing"]
    process.clock.forward(minutes=-2)
    assert process.evaluator.tick() == 0
    process.clock.forward(hours=-1)
    assert process.evaluator.tick() == 0
    assert process.board.watermark == process.clock.now.replace(second=0)
    process.run(2, requests=60, cost_usd=3.0)
    assert (process.status(), process.inbox.kinds) == ("firing", ["firing"])


def test_a_collector_that_is_away_changes_no_state(process: Process, store: MemoryStore) -> None:
    process.run(10, requests=60, cost_usd=3.0)
    store.error = QueryError("unreachable", "No collector answers.")
    process.run(3)
    assert process.status() == "firing"
    assert process.evaluator.health.last_error == "No collector answers."
    process.run(5)
    assert process.inbox.kinds == ["firing", "firing"]
    blind = process.inbox.notices[-1]
    assert (blind.title, blind.severity) == ("alerts cannot be evaluated", "critical")
    assert "No collector answers." in blind.sentence
    store.error = None
    process.run(1, requests=60, cost_usd=3.0)
    assert process.evaluator.health.last_error is None
    assert process.inbox.kinds == ["firing", "firing", "resolved"]


def test_a_second_process_on_the_same_data_dir_is_refused(process: Process) -> None:
    with pytest.raises(AlreadyRunning, match="already kept by another process"):
        NotificationLog(process.data_dir)


def test_when_much_fires_at_once_the_next_evaluation_reads_the_other_causes(
    process: Process, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taximeter_alerts.evaluator._MOST_CHARTS", 1)
    dear = "watch: cost_per_request_usd, by: agent_name, when: above $1"
    rules = f"{{name: dear, {dear}, over: 5m}}, {{name: worse, {dear}, severity: critical}}"
    process.restart(f"{OPS}rules: [{rules}]\n")
    process.run(1, requests=3_000, cost_usd=9.0)
    assert {rule for rule, _ in process.board.unexplained()} == {"dear"}
    process.run(1, requests=3_000, cost_usd=9.0)
    assert process.board.unexplained() == set()


def test_the_cause_of_one_agent_is_not_told_of_another(
    process: Process, store: MemoryStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two agents are one incident; the cause of the one that leads could not be read."""

    def read_cause(_reader: object, _rule: object, labels: dict[str, str], *_: object) -> Cause:
        return Cause() if labels == {"agent_name": "a"} else Cause((f"{labels} did it",))

    monkeypatch.setattr("taximeter_alerts.evaluator.read_cause", read_cause)
    dear = "watch: cost_per_request_usd, by: agent_name, when: above $1, group_by: rule"
    process.restart(f"{OPS}rules: [{{name: dear, {dear}}}]\n")
    for agent in ("a", "b"):
        store.add_minutes(agent, clock.now.replace(second=0), 1, requests=3_000, cost_usd=9.0)
    process.run(1)
    (notice,) = process.inbox.notices
    assert (notice.title, notice.cause) == ("cost per request and 1 more, a", ())


def test_a_cause_that_cannot_be_read_keeps_no_alert_back_and_is_asked_for_once(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def read_cause(*about: object) -> Cause:
        asked.append(about)
        raise QueryError("timeout", "It took too long.")

    monkeypatch.setattr("taximeter_alerts.evaluator.read_cause", read_cause)
    rule = "{name: dear, watch: cost_per_request_usd, by: agent_name, when: above $1}"
    process.restart(f"{OPS}rules: [{rule}]\n")
    process.run(5, requests=3_000, cost_usd=9.0)
    (firing,) = process.inbox.notices
    assert (firing.kind, firing.cause, len(asked)) == ("firing", (), 1)


def test_the_link_shows_what_the_alert_counted(process: Process, store: MemoryStore) -> None:
    """An alert of 24 hours that began just now is about the requests of the last day."""
    rule = "{name: day, watch: cost_per_request_usd, by: agent_name, when: above $1, over: 24h}"
    process.restart(f"{OPS}rules: [{rule}]\n")
    process.run(3, requests=3_000, cost_usd=9.0)
    (firing,) = process.inbox.notices
    assert firing.link is not None
    assert "start=2026-11-19T14%3A0" in firing.link and "end=2026-11-20T14%3A1" in firing.link


def test_percentiles_of_single_requests_can_be_watched(process: Process) -> None:
    rule = "{name: slow, watch: latency_p95_seconds, when: spike, by: [agent_name]}"
    process.restart(OPS + f"rules: [{rule}]\n")
    process.run(2, **USUAL)
    assert process.evaluator.health.last_error is None


def test_every_closed_minute_is_evaluated_once_and_gaps_are_bounded() -> None:
    end = datetime.fromisoformat("2026-11-20T14:00:00+00:00")
    steps = list(minutes_to_evaluate(end - timedelta(minutes=3), end))
    assert [end - at for at in steps] == [timedelta(minutes=m) for m in (2, 1, 0)]
    after_a_week = list(minutes_to_evaluate(end - timedelta(days=7), end))
    assert len(after_a_week) < 100 and after_a_week[-1] == end
    assert list(minutes_to_evaluate(end + timedelta(minutes=1), end)) == []


def test_a_slow_catch_up_reaches_the_present_in_a_few_steps() -> None:
    end = datetime.fromisoformat("2026-11-20T14:00:00+00:00")
    steps = list(minutes_to_evaluate(None, end, lambda: True))
    assert len(steps) < 20 and steps == sorted(steps) and steps[-1] == end
    assert steps[0] - (end - CATCH_UP) == timedelta(hours=2)
    assert [end - at for at in steps[-3:]] == [timedelta(minutes=m) for m in (2, 1, 0)]


def test_a_stop_ends_a_catch_up_between_two_minutes(process: Process) -> None:
    process.evaluator.stop()
    assert process.evaluator.tick() == 0
