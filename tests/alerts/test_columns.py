"""All groups at once, in columns, are judged as each would be alone: by the plain reference of plain.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from tests.alerts import plain
from tests.alerts.conftest import Clock, MemoryStore

from taximeter_alerts.backtest.replay import Replay
from taximeter_alerts.judge import windows
from taximeter_alerts.judge.detect import Reference
from taximeter_alerts.judge.groups import WINDOWS, Labels, SampleColumns
from taximeter_alerts.judge.judging import find_all
from taximeter_alerts.judge.live_source import LiveSource
from taximeter_alerts.judge.past import (
    HOURS,
    Learned,
    PastWindows,
    UsualColumns,
    learn,
    usual_range,
)
from taximeter_alerts.judge.screen import outcomes_of, screen
from taximeter_alerts.judge.windows import shapes_of
from taximeter_alerts.rules.book import WINDOWS_S, Condition, Rule
from taximeter_alerts.rules.defaults import default_rules

END = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
AGENT = ("agent_name",)
RULES = (
    *default_rules(),
    Rule("dear", "cost_per_request_usd", Condition("above", 0.3), by=AGENT, over_s=3_600),
    Rule("few", "requests", Condition("below", 30.0), by=AGENT, over_s=21_600, no_data="alert"),
    Rule("slo", "error_rate", Condition("burning", 0.95), by=AGENT),
    Rule("gone", "requests", Condition("silent", 900.0), by=AGENT),
    Rule("strict", "error_rate", Condition("above", 0.2), by=AGENT, min_requests=5, min_errors=2),
    Rule(
        "tokens", "tokens_per_request", Condition("drop", 0.3), by=(*AGENT, "tenant"),
        sensitivity="high", min_requests=8,
    ),
    Rule("slow", "latency_p95_seconds", Condition("spike", 1.5), by=AGENT, sensitivity="high"),
)  # fmt: skip


def test_two_bad_days_do_not_become_usual_but_three_do_and_of_few_days_two() -> None:
    def usual(bad_days: int, of: int = 14) -> tuple[float, float]:
        days = np.repeat(np.arange(of), 12)
        start_s = int(END.timestamp()) - days * 86_400 - 300 * (1 + np.tile(np.arange(12), of))
        value = np.where(days < bad_days, 1.0, 0.1)
        columns = PastWindows(0 * days, start_s, value, 30 + 0 * value, 0 * value, value)
        found = usual_range(columns, 300, 2, END)
        return float(found.value[0]), float(found.high[0])

    assert usual(2) == (0.1, 0.1)
    assert usual(3)[1] == 1.0
    assert (usual(1, of=9)[1], usual(2, of=9)[1]) == (0.1, 1.0)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_learned_is_what_each_group_alone_would_learn(seed: int) -> None:
    random, groups, found = np.random.default_rng(seed), 30, {}
    for size in WINDOWS_S:
        starts = np.arange(-(-int((END - timedelta(days=14)).timestamp()) // size) * size,
                           int(END.timestamp()) - size + 1, size)  # fmt: skip
        share = random.uniform(0, 1, groups) ** 4
        group, place = np.nonzero(random.uniform(0, 1, (groups, len(starts))) < share[:, None])
        number = len(group)
        count = random.integers(0, 25, number).astype(float)
        found[size] = PastWindows(
            group, starts[place], random.choice([0.0, 0.1, 0.2, 0.3, 1.7], number), count,
            random.binomial(count.astype(int), 0.1).astype(float),
            random.choice([np.nan, 0.01, 0.02, 0.4], number),
        ).holding()  # fmt: skip
    known = 0
    usual = {size: usual_range(past, size, groups + 1, END) for size, past in found.items()}
    for metric in ("cost_per_request_usd", "error_rate", "request_cost_max_usd", "requests"):
        learned = learn(metric, found[3_600], groups, END, usual)
        for alone in range(groups + 1):
            expected = plain.reference_of(_alone(found, alone))
            got = learned.reference(alone)
            assert (got.days, got.busiest_hour) == (expected.days, expected.busiest_hour)
            assert {s: u for s, u in got.usuals.items() if u} == {
                s: u for s, u in expected.usuals.items() if u
            }
            known += sum(u is not None for u in got.usuals.values())
            if metric == "error_rate":
                assert (got.rate, got.rate_days) == (expected.rate, expected.rate_days)
            if metric == "request_cost_max_usd" and expected.dearest_days >= 3:
                assert (got.dearest, got.dearest_days) == (expected.dearest, expected.dearest_days)
            if metric == "requests":
                assert got.hours == expected.hours
    assert known > 100


def _alone(found: dict[int, PastWindows], place: int) -> dict[int, list[plain.PastWindow]]:
    """Return one group's windows, one by one."""
    windows: dict[int, list[plain.PastWindow]] = {}
    for size, past in found.items():
        mine = past.where(past.group == place)
        ages, off = mine.age_days(END), mine.hours_off(END, size)
        for row in range(len(ages)):
            cost = float(mine.cost[row])
            windows.setdefault(size, []).append(
                plain.PastWindow(
                    int(ages[row]), float(off[row]), float(mine.value[row]),
                    float(mine.count[row]), float(mine.failures[row]),
                    None if np.isnan(cost) else cost,
                    datetime.fromtimestamp(int(mine.start_s[row]), UTC),
                )
            )  # fmt: skip
    return windows


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("sensitivity", ["low", "high"])
def test_what_may_breach_is_judged_and_all_else_has_the_outcome_of_judging(
    rule: Rule, sensitivity: Any
) -> None:
    """Values are few and round, so that many lie on a limit."""
    rule = replace(rule, sensitivity=sensitivity)
    random, groups = np.random.default_rng(7), 1_500
    samples, past = _samples(random, groups), _past(random, groups)
    at, places = END + timedelta(minutes=23), np.append(np.arange(groups - 1), -1)
    screened, breaches = outcomes_of(screen(rule, samples, past, places, at)), 0
    for place, outcome in enumerate(screened):
        known = past.reference(places[place])
        verdict = plain.verdict_of(rule, samples.of(place), known, at)
        breaches += verdict.outcome == "breach"
        assert outcome in ("maybe", verdict.outcome), (samples.of(place), known)
    assert breaches >= 5
    assert screened.count("maybe") < groups


def _samples(random: np.random.Generator, groups: int) -> SampleColumns:
    shape = (len(WINDOWS), groups)
    traffic = random.choice([0, 0.2, 1, 8], groups) * np.array([1, 4, 12, 40, 200, 800])[:, None]
    count = random.poisson(traffic).astype(float)
    failures = random.binomial(count.astype(int), random.choice([0.0, 0.05, 0.5], groups))
    value = random.choice([0.0, 0.05, 0.1, 0.15, 0.2, 0.35, 0.5, 2.0, 20.0], shape)
    value[(count == 0) | (random.uniform(0, 1, shape) < 0.02)] = np.nan
    is_rate = random.uniform(0, 1, groups) < 0.5
    rates = np.divide(failures, count, out=np.full(shape, np.nan), where=count > 0)
    return SampleColumns(
        np.where(is_rate, rates, value), count, failures.astype(float),
        random.choice([np.nan, 0.1, 5.0], shape), count, random.choice([np.nan, 1.0], shape),
    )  # fmt: skip


def _past(random: np.random.Generator, groups: int) -> Learned:
    size = groups + 1

    def some(*values: float) -> Any:
        column = random.choice(np.array(values, dtype=float), size)
        column[-1] = np.nan
        return column

    hours = random.choice([np.nan, 1.0, 12.0, 60.0], (size, HOURS), p=[0.1, 0.1, 0.3, 0.5])
    hours[random.uniform(0, 1, size) < 0.2, : random.integers(0, HOURS)] = np.nan
    hours[-1] = np.nan
    usual = {
        window_s: UsualColumns(
            some(np.nan, 0.0, 0.05, 0.1, 0.1), some(0.1, 0.12), some(0.05, 0.1),
            some(np.nan, 0.1, 0.2), random.integers(1, 14, size), some(0, 1) == 1,
        )
        for window_s in WINDOWS_S
    }  # fmt: skip
    days = random.integers(0, 14, size)
    days[-1] = 0
    busiest = np.nan_to_num(hours).max(axis=1)
    dearest = some(0.1, 0.2, 1.0)
    rate = some(np.nan, 0.0, 0.01, 0.05)
    return Learned(END, days, busiest, rate, days, dearest, days, usual, hours)


FILL = """insert into usage_minute by name
select $start + to_minutes(m::integer) as minute, 'agent-' || a as agent_name, 'prod' as environment,
    case when a % 3 = 0 then null else 'tenant-' || (hash(a, m) % 2) end as tenant,
    case when a % 5 = 4 then 'p' end as provider, case when a % 5 = 4 then 'm' end as model,
    1 + hash(m, a) % (1 + a % 9) as requests,
    (hash(a, m, 1) % (4 + a) < (a % 4) + case when m > $minutes - 90 then 2 else 0 end)::integer
        as failed_requests,
    (hash(a, m, 2) % 10 = 0)::integer as unpriced_requests,
    requests * (1 + hash(a, m, 3) % 5 + case when m > $minutes - 40 then 9 * (a % 3) else 0 end)
        * 30_000_000_000 as request_cost_pico,
    requests * (2 + hash(a, m, 4) % 4) as loop_length_sum, requests as loop_length_requests,
    requests as calls, failed_requests as failed_calls, 0 as unseen_attempts,
    1000 * (1 + hash(a, m, 5) % 3) as tokens, tokens as priced_tokens,
    tokens as hit_denominator_tokens,
    tokens * (a % 4) // case when m > $minutes - 60 then 8 else 4 end as hit_read_tokens,
    1 as tool_calls, (hash(a, m, 6) % 9 = 0)::integer as failed_tool_calls
from range($agents) s(a), range($minutes) t(m)
where hash(a, m, 7) % (1 + 11 * (a % 7)) = 0 and (a % 8 <> 7 or m % 1440 > 600) 
    and (a <> 5 or m < $minutes - 200) and (a <> 9 or m > $minutes - 200)"""
FILL_REQUESTS = """insert into request by name
select minute as start_time, agent_name, agent_name || minute as request_id,
    request_cost_pico as cost_pico, 100 * (1 + hash(minute, agent_name) % 30) as duration_ms
from usage_minute"""


@pytest.fixture(scope="module")
def filled() -> Iterator[MemoryStore]:
    store, days = MemoryStore(), 11
    minutes = days * 1440 + 25
    store.run(FILL, {"start": END - timedelta(days=days), "minutes": minutes, "agents": 16})
    store.run(FILL_REQUESTS)
    yield store


@pytest.mark.parametrize(("answer_bytes", "minute"), [(60_000_000, 25), (600_000, 3)])
def test_findings_are_those_of_judging_one_by_one(
    filled: MemoryStore, monkeypatch: pytest.MonkeyPatch, answer_bytes: int, minute: int
) -> None:
    monkeypatch.setattr(windows, "ANSWER_BYTES", answer_bytes)
    at = END + timedelta(minutes=minute)
    source = LiveSource(filled, Clock(at), lambda _: False)
    source.look()
    gone: Labels = {"agent_name": "gone"}
    seen = [(rule.name, '{"agent_name": "gone"}', gone) for rule in RULES if rule.by == AGENT]
    found = find_all(shapes_of(RULES), source, seen, at)
    expected: dict[tuple[str, str], Any] = {}
    for rule in RULES:
        known = [gone] if rule.by == AGENT else []
        expected |= plain.verdicts_of(rule, filled, known, at)
    told = {(finding.rule.name, finding.key): finding.verdict for finding in found}
    outcomes = [verdict.outcome for verdict in told.values()]
    assert {outcome: outcomes.count(outcome) >= 3 for outcome in set(outcomes)} == {
        "breach": True, "clear": True, "learning": True, "no_data": True,
    }  # fmt: skip
    few = [rule for rule in RULES if rule.min_agents is not None]
    for key, verdict in told.items():
        if key[0] not in {rule.name for rule in few}:
            assert verdict == expected[key], key
    assert told.keys() == expected.keys()
    for name, parts in found.judged.items():
        for part in parts:
            for group, outcome in part.outcomes.items():
                assert outcome in ("maybe", told[name, group].outcome)


def test_a_replay_finds_what_the_running_process_would(filled: MemoryStore) -> None:
    at = END + timedelta(minutes=25)
    source = LiveSource(filled, Clock(at), lambda _: False)
    source.look()
    replay = Replay(filled, END - timedelta(days=1), at)
    live = {(f.rule.name, f.key): f.verdict for f in find_all(shapes_of(RULES), source, (), at)}
    then = {(f.rule.name, f.key): f.verdict for f in find_all(shapes_of(RULES), replay, (), at)}
    assert then.keys() == live.keys()
    for key, verdict in live.items():
        for column in fields(verdict):
            mine, other = getattr(then[key], column.name), getattr(verdict, column.name)
            assert mine == (pytest.approx(other) if isinstance(other, float) else other), key


def test_a_group_without_a_past_knows_nothing(filled: MemoryStore) -> None:
    (shape,) = shapes_of([RULES[0]])
    history = windows.read_history(filled, shape, ["cost_per_request_usd"], END)
    assert history.of("nobody", "cost_per_request_usd") == Reference()
    (place,) = history.places_of(["nobody"])
    known = history.metrics["cost_per_request_usd"].reference(place)
    assert known == replace(Reference(), usuals=dict.fromkeys(WINDOWS_S))
