"""Budgets: told once a level and period, with what is expected, and never as less than is known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from tests.alerts.conftest import Clock, MemoryStore
from tests.alerts.served import served
from tests.alerts.test_alert_timelines import OPS, Process
from tests.alerts.timeline import Timeline

from taximeter_alerts.backtest.replay import Replay
from taximeter_alerts.incidents.muting import Cause, explained_by
from taximeter_alerts.incidents.silences import keep_file_silences
from taximeter_alerts.judge.budgets import (
    BudgetSpend,
    Spend,
    budget_sentence,
    judge_budget,
    period_of,
    status_of,
)
from taximeter_alerts.judge.live_source import LiveSource
from taximeter_alerts.judge.windows import Shape
from taximeter_alerts.rules.book import Budget, Rule
from taximeter_alerts.rules.defaults import default_rules
from taximeter_alerts.rules.rules_file import parse_rules

RULES = (
    'rules: [{name: team, watch: cost_usd, by: tenant, when: "budget $100 per day",'
    " zone: Europe/Berlin, at: [80%, 100%], on_exhausted: stop}]\n"
)


def spend(store: MemoryStore, at: datetime, usd: float, *, priced: float = 1.0) -> None:
    store.add_rows(
        "usage_minute",
        [
            {
                "minute": at.replace(second=0),
                "tenant": "acme",
                "requests": 1,
                "cost_pico": int(usd * 1e12),
                "tokens": 1000,
                "priced_tokens": int(1000 * priced),
            }
        ],
    )


@pytest.mark.parametrize(
    ("period", "zone", "at", "start", "end"),
    [
        ("day", "UTC", "2026-11-20T14:00", "2026-11-20T00:00", "2026-11-21T00:00"),
        ("day", "UTC", "2026-11-20T00:00", "2026-11-19T00:00", "2026-11-20T00:00"),
        ("day", "Asia/Kolkata", "2026-11-20T20:00", "2026-11-20T18:30", "2026-11-21T18:30"),
        ("week", "UTC", "2026-11-20T14:00", "2026-11-16T00:00", "2026-11-23T00:00"),
        ("month", "UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        # Summer time ends on 25 October: that month is an hour longer.
        ("month", "Europe/Berlin", "2026-10-20T12:00", "2026-09-30T22:00", "2026-10-31T23:00"),
        ("day", "Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
    ],
)
def test_a_period_is_one_of_the_budgets_time_zone(
    period: str, zone: str, at: str, start: str, end: str
) -> None:
    budget = Budget("b", 1.0, period, zone)  # type: ignore[arg-type]
    found = period_of(budget, datetime.fromisoformat(at).replace(tzinfo=UTC))
    assert [t.strftime("%Y-%m-%dT%H:%M") for t in found] == [start, end]


@pytest.fixture
def process(tmp_path: Path, store: MemoryStore, clock: Clock) -> Iterator[Process]:
    process = Process(tmp_path, store, clock)
    process.restart(OPS + RULES)
    yield process
    process.log.close()


def test_each_level_is_told_once_a_period_and_the_next_period_ends_it(
    process: Process, store: MemoryStore, clock: Clock
) -> None:
    process.board.set_watermark(clock.now.replace(second=0))
    for usd in (79.0, 1.5, 0.0, 0.0, 25.0, 0.0, 0.0, 30.0, 0.0):
        spend(store, clock.now, usd)
        process.run(1)
    assert process.inbox.kinds == ["firing", "worse"]
    first, second = process.inbox.notices
    assert first.title == "budget team: 80% of $100 per day, acme"
    assert first.sentence.startswith("acme: $80.50 of $100.00 per day used (80.5 %), 9 h to go.")
    assert (first.severity, second.severity) == ("warning", "critical")
    assert "$105.50 of $100.00" in second.sentence
    assert second.sentence.endswith("Agents that ask for budgets are stopped until the day ends.")
    assert "stopped" not in first.sentence
    assert second.labels == {"rule": "team", "tenant": "acme"}
    # Its levels say the same: once is enough.
    assert (second.title, second.also) == ("budget team: 100% of $100 per day, acme", ())
    # Midnight in Berlin is 23:00 UTC: nothing is used of the new day.
    clock.now = datetime(2026, 11, 20, 23, 0, 30, tzinfo=UTC)
    process.board.set_watermark(clock.now.replace(second=0) - timedelta(minutes=1))
    process.tick()
    assert process.inbox.kinds == ["firing", "worse"]
    process.run(1)
    assert process.inbox.kinds[2:] == ["resolved"]
    assert "Within the budget again" in process.inbox.notices[-1].sentence
    spend(store, clock.now, 90.0)
    process.run(1)
    assert process.inbox.kinds[3:] == ["firing_again"]


def test_the_levels_of_a_budget_have_one_cause(
    tmp_path: Path, store: MemoryStore, clock: Clock
) -> None:
    """It is read once for all of them."""
    asked = []
    spend(store, clock.now, 120.0)
    for levels in ("[100%]", "[80%, 100%]"):
        process = Process(tmp_path / levels, store, clock)
        process.restart(OPS + RULES.replace("[80%, 100%]", levels))
        process.board.set_watermark(clock.now.replace(second=0))
        before = store.asked
        process.run(1)
        asked.append(store.asked - before)
        assert process.board.unexplained() == set()
        process.log.close()
    assert asked[0] == asked[1]


@pytest.mark.parametrize(("rule", "kinds"), [("team", []), ("team 80%", ["firing"])])
def test_a_silence_names_a_budget_or_one_of_its_levels(
    process: Process, store: MemoryStore, clock: Clock, rule: str, kinds: list[str]
) -> None:
    silence = f"silences: [{{match: {{rule: {rule}}}, until: 2030-01-01}}]\n"
    process.restart(OPS + RULES + silence)
    keep_file_silences(process.log, parse_rules(OPS + RULES + silence, "f", {}), clock.now)
    process.board.set_watermark(clock.now.replace(second=0))
    spend(store, clock.now, 120.0)
    process.run(1)
    assert process.inbox.kinds == kinds


def test_a_system_that_went_quiet_does_not_mute_its_budget() -> None:
    rule, _ = parse_rules("version: 1\ndefaults: false\n" + RULES, "f", {}).rules
    quiet = next(rule for rule in default_rules() if rule.name == "everything-quiet")
    assert explained_by(rule, {"tenant": "acme"}, [Cause(quiet, {})]) is None
    assert explained_by(default_rules()[0], {"agent_name": "a"}, [Cause(quiet, {})])


NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MONTH = Budget("m", 300.0, "month")


def days(usd: float, number: int = 28) -> dict[str, dict[object, float]]:
    return {"g": {(NOW - timedelta(days=age)).date(): usd for age in range(1, number + 1)}}


def found(level: str, used: tuple[float, float, float], usd_a_day: float, known: int = 28,
          priced: float | None = None) -> tuple[str, str]:  # fmt: skip
    """Return the outcome and sentence of one level; `used` is of period, hour and 5 minutes."""
    text = (
        "version: 1\ndefaults: false\nrules:\n"
        f'  - {{name: m, watch: cost_usd, when: "budget $300 per month", at: "{level}"}}\n'
    )
    (rule,) = parse_rules(text, "f", {}).rules
    assert rule.budget == MONTH
    spends = tuple(Spend(usd, priced) for usd in used)
    asked = BudgetSpend({"g": ({}, spends)}, days(usd_a_day, known))  # type: ignore[arg-type]
    status = status_of(MONTH, {}, "g", asked, NOW)
    return judge_budget(rule, status).outcome, budget_sentence(rule, status)


@pytest.mark.parametrize(
    ("level", "used", "usd_a_day", "outcome"),
    [
        ("80%", (239.9, 0, 0), 1.0, "clear"),
        ("80%", (240.0, 0, 0), 1.0, "breach"),
        # 10.5 days are left.
        ("forecast", (190.0, 0, 0), 10.0, "clear"),
        ("forecast", (200.0, 0, 0), 10.0, "breach"),
        ("burning 5%", (20.0, 15.0, 1.3), 1.0, "breach"),
        ("burning 5%", (20.0, 15.0, 0.2), 1.0, "clear"),
        ("burning 5%", (20.0, 14.0, 5.0), 1.0, "clear"),
    ],
)
def test_levels(
    level: str, used: tuple[float, float, float], usd_a_day: float, outcome: str
) -> None:
    assert found(level, used, usd_a_day)[0] == outcome


def test_what_has_no_price_makes_a_lower_bound() -> None:
    _, said = found("80%", (250.0, 0, 0), 10.0, priced=0.9)
    assert said == (
        "everything: at least $250.00 of $300.00 per month used (83.3 %), 10 days to go."
        " The month is expected to cost $355.00 (four times in five $355.00 to $355.00)."
        " Only 90 % of the tokens have a price: it is more than that."
    )


def test_what_is_almost_all_priced_is_a_lower_bound_without_a_lecture() -> None:
    _, said = found("80%", (250.0, 0, 0), 10.0, known=0, priced=0.998)
    assert said == (
        "everything: at least $250.00 of $300.00 per month used (83.3 %), 10 days to go."
    )


@pytest.mark.parametrize(
    ("at", "left"), [("2026-11-20T20:00", "4 h"), ("2026-11-20T23:30", "30 min")]
)
def test_the_time_left_is_said_in_a_unit_that_tells(at: str, left: str) -> None:
    budget, moment = Budget("b", 10.0, "day"), datetime.fromisoformat(at).replace(tzinfo=UTC)
    (rule, *_) = parse_rules(
        "version: 1\nrules: [{name: b, watch: cost_usd, when: budget $10 per day}]", "f", {}
    ).rules
    status = status_of(budget, {}, "g", BudgetSpend({}, {}), moment)
    assert budget_sentence(rule, status).endswith(f"{left} to go.")


def test_a_budget_of_a_part_says_of_which() -> None:
    (rule, *_) = parse_rules(
        "version: 1\nrules: [{name: b, watch: cost_usd, where: {agent_name: [web, deep]}, by: tenant, when: budget $10 per day}]",
        "f", {},
    ).rules  # fmt: skip
    moment = datetime(2026, 11, 20, 20, tzinfo=UTC)
    status = status_of(
        Budget("b", 10.0, "day"), {"tenant": "acme"}, "g", BudgetSpend({}, {}), moment
    )
    assert budget_sentence(rule, status).startswith("web or deep / acme: ")


def test_a_forecast_waits_for_days() -> None:
    outcome, said = found("forecast", (250.0, 0, 0), 10.0, known=5)
    assert outcome == "learning" and "expected" not in said


def test_the_pace_is_said() -> None:
    _, said = found("burning 5%", (90.0, 15.0, 5.0), 1.0)
    assert said.startswith(
        "everything: $15.00 in the last hour, 5 % of the budget; $90.00 of $300.00 per month used"
    )


def test_a_replay_knows_the_same_spend_as_the_collector(store: MemoryStore, clock: Clock) -> None:
    end = clock.now.replace(second=0)
    for hours in range(0, 40 * 24, 5):
        spend(store, end - timedelta(hours=hours, minutes=3), 1.0 + hours % 7, priced=0.5)
    budget, shape = Budget("b", 100.0, "month", "Europe/Berlin"), Shape(("tenant",), ())
    source = LiveSource(store, clock, lambda _: False)
    source.look()
    replay = Replay(store, end - timedelta(days=2), end)
    for hours in (30, 3, 0):
        at = end - timedelta(hours=hours)
        live, past = source.spend(shape, budget, at), replay.spend(shape, budget, at)
        (key,) = live.current
        for mine, theirs in zip(live.current[key][1], past.current[key][1], strict=True):
            assert mine.usd == pytest.approx(theirs.usd)
            assert (mine.priced_ratio or 0) == pytest.approx(theirs.priced_ratio or 0)
        assert dict(live.days[key]) == pytest.approx(dict(past.days[key]))
        assert len(live.days[key]) == 28


def test_the_api_says_where_budgets_stand_and_of_how_long_ago(
    tmp_path: Path, process: Process, store: MemoryStore, clock: Clock
) -> None:
    spend(store, clock.now - timedelta(hours=1), 120.0, priced=0.5)
    process.run(1)
    timeline = Timeline(tmp_path / "api")
    with served(timeline, budgets=lambda: process.evaluator.budgets, clock=clock) as url:
        clock.forward(seconds=20)
        answer = httpx.get(f"{url}/api/budgets").json()
        (row,) = answer["budgets"]
        assert (answer["age_s"], answer["is_stale"]) == (50.0, False)
        assert (row["budget"], row["labels"]) == ("team", {"tenant": "acme"})
        assert (row["used_usd"], row["left_usd"], row["used_ratio"]) == (120.0, -20.0, 1.2)
        assert (row["on_exhausted"], row["is_exhausted"]) == ("stop", True)
        assert (row["is_lower_bound"], row["priced_ratio"]) == (True, 0.5)
        assert row["period_start"].startswith("2026-11-19T23:00")
        assert row["forecast"] is None
        others = httpx.get(f"{url}/api/budgets", params={"tenant": "other"}).json()
        assert others["budgets"] == []
        text = httpx.get(f"{url}/metrics").text
        assert 'taximeter_budget_used_ratio{budget="team",tenant="acme"} 1.200000' in text
        clock.forward(minutes=20)
        assert httpx.get(f"{url}/api/budgets").json()["is_stale"] is True
    timeline.close()


def test_nobody_goes_by_budgets_that_are_not_known_since_a_restart(
    tmp_path: Path, process: Process, store: MemoryStore, clock: Clock
) -> None:
    spend(store, clock.now - timedelta(hours=1), 120.0)
    process.run(1)
    process.restart(OPS + RULES)
    timeline = Timeline(tmp_path / "api")
    timeline.board.set_watermark(clock.now)
    with served(timeline, budgets=lambda: process.evaluator.budgets, clock=clock) as url:
        answer = httpx.get(f"{url}/api/budgets").json()
        assert (answer["budgets"], answer["as_of"], answer["is_stale"]) == ([], None, True)
    timeline.close()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('when: "budget $0 per day"', "a budget is more than $0"),
        ('when: "budget $5 per year"', "write budget $100 per day (or week, or month)"),
        ('when: "budget 5x per day"', "not an amount of money: '5x'"),
        ('when: "budget $5 per day", at: 80', "cannot read '80'; a level is 80%, forecast"),
        ('when: "budget $5 per day", at: [80%, 80%]', "'b 80%' is given twice"),
        (
            'when: "budget $5 per day", at: []',
            "at: name at least one level, as [80%, 100%, forecast]",
        ),
        ('when: "budget $5 per day", zone: Mars', "unknown time zone 'Mars'"),
        ('when: "budget $5 per day", for: 5m', "for: a budget has no such key"),
        ('when: "budget $5 per day", on_exhausted: kill', "use one of: notify, stop"),
        ("when: above $5, at: 80%", "at: belongs to a budget"),
    ],
)
def test_what_makes_no_sense_is_said(keys: str, said: str) -> None:
    text = f"version: 1\nrules:\n  - {{name: b, watch: cost_usd, {keys}}}\n"
    with pytest.raises(Exception, match=r"f:3:\d+: rule b: ") as caught:
        parse_rules(text, "f", {})
    assert said in str(caught.value)


def test_levels_default_and_only_money_has_a_budget() -> None:
    text = 'version: 1\ndefaults: false\nrules: [{name: b, watch: %s, when: "budget $5 per day"}]'
    rules: tuple[Rule, ...] = parse_rules(text % "cost_usd", "f", {}).rules
    assert [(r.name, r.severity) for r in rules] == [
        ("b 80%", "warning"), ("b 100%", "critical"), ("b forecast", "warning"),
    ]  # fmt: skip
    with pytest.raises(Exception, match="watch: a budget watches cost_usd"):
        parse_rules(text % "tokens", "f", {})
