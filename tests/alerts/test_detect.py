"""The detectors are pure: windows in, a verdict out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.alerts.plain import PastWindow, reference_of

from taximeter_alerts.judge.burn_rate import judge_burning
from taximeter_alerts.judge.detect import Reference, Sample, Verdict, judge
from taximeter_alerts.judge.explain import explain
from taximeter_alerts.judge.state import AlertState, step
from taximeter_alerts.rules.book import Condition, Rule
from taximeter_alerts.rules.defaults import default_rules

COST, ERRORS, LOOPS, CACHE, DEAR, *_ = default_rules()
WINDOWS = (300, 900, 3_600, 21_600, 86_400)


def past(value: float = 0.07, days: int = 14, count: float = 30, **other: Any) -> Reference:
    """Return a reference with a window of each size in each hour, all alike but one day."""
    windows = {
        size: [
            PastWindow(day, abs(hour), value * (1.4 if day == 3 else 1.0), count, **other)
            for day in range(days)
            for hour in ((-1.0, 0.0, 1.0, 5.0) if size <= 3_600 else (0.0,))
        ]
        for size in WINDOWS
    }
    return reference_of(windows)


def now(value: float, count: float = 30, failures: float = 0) -> dict[int, Sample]:
    return {s: Sample(value, count, failures, value, count) for s in (60, *WINDOWS)}


def test_a_window_as_usual_is_clear() -> None:
    verdict = judge(COST, now(0.08), past())
    assert (verdict.outcome, verdict.is_fresh) == ("clear", True)


def test_a_cost_of_six_times_the_usual_breaches_and_explains_itself() -> None:
    verdict = judge(COST, now(0.42, count=212), past())
    assert verdict.outcome == "breach"
    assert explain(COST, {"agent_name": "checkout-agent"}, verdict) == (
        "checkout-agent: cost per request $0.42, 6.0x the usual $0.07 at this hour;"
        " 12 of the last 14 days stayed under $0.07."
        " 212 requests in the last 5 min, about $74.20 extra."
    )


def test_an_outage_of_minutes_is_not_hidden_by_the_hour_before_it() -> None:
    """The hour is too long to breach by itself, and said that what breaches now is over."""
    samples = now(5 / 60, count=60, failures=5)
    samples |= {s: Sample(5 / 6, 6, 5, requests=6) for s in (300, 900)}
    assert judge(ERRORS, samples, past(0.0, failures=0.0)).outcome == "breach"
    # Of a longer window the newer requests do tell: none of the last hour's twenty failed.
    over = now(9 / 40, count=40, failures=9)
    over |= {s: Sample(0.0, 5, 0, requests=5) for s in (60, 300, 900)}
    over[3_600] = Sample(0.0, 20, 0, requests=20)
    assert judge(ERRORS, over, past(0.0, failures=0.0)).outcome == "clear"


def test_an_extra_of_less_than_the_impact_is_not_worth_an_alert() -> None:
    assert judge(COST, now(0.0042, count=30), past(0.0007)).outcome == "clear"
    free = replace(COST, min_impact_usd=None)
    assert judge(free, now(0.0042, count=30), past(0.0007)).outcome == "breach"


def test_with_little_traffic_a_longer_window_is_judged() -> None:
    samples = {
        60: Sample(None),
        300: Sample(0.4, 2),
        900: Sample(0.4, 6),
        3_600: Sample(0.4, 24),
        21_600: Sample(0.2, 140),
        86_400: Sample(0.1, 500),
    }
    verdict = judge(COST, samples, past())
    assert (verdict.outcome, verdict.window_s) == ("breach", 3_600)


def test_a_new_group_is_learning_and_says_so() -> None:
    reference = reference_of({3_600: [PastWindow(0, 0.0, 0.1, 20)]})
    verdict = judge(COST, now(9.0), reference)
    assert verdict.outcome == "learning"
    assert explain(COST, {"agent_name": "new"}, verdict) == (
        "new: cost per request: learning, 1 of 14 days."
    )


def test_no_traffic_is_no_data_and_never_zero() -> None:
    nothing = {size: Sample(None) for size in (60, *WINDOWS)}
    for rule in (COST, ERRORS, LOOPS):
        assert judge(rule, nothing, past()).outcome == "no_data"
    below = Rule("few", "requests", Condition("below", 1.0))
    assert judge(below, nothing, past()).outcome == "no_data"


def test_zero_over_zero_does_not_fire() -> None:
    assert judge(COST, now(0.0), past(0.0)).outcome == "clear"
    assert judge(LOOPS, now(0.0), past(0.0)).outcome == "clear"


def test_errors_breach_by_their_count_not_by_their_rate_alone() -> None:
    few = judge(ERRORS, now(0.5, count=4, failures=2), past(0.005))
    many = judge(ERRORS, now(0.5, count=40, failures=20), past(0.005))
    assert (few.outcome, many.outcome) == ("clear", "breach")
    assert explain(ERRORS, {"agent_name": "a"}, many) == (
        "a: error rate 50 %, against the usual 0 % of 14 days."
        " 20 of 40 requests failed in the last 5 min."
    )


def test_an_outage_that_is_over_does_not_breach_through_the_long_window() -> None:
    samples = now(0.0, count=40) | {21_600: Sample(0.4, 500, 200)}
    assert judge(ERRORS, samples, past(0.005)).outcome == "clear"
    assert judge(ERRORS, samples | {300: Sample(0.4, 60, 24)}, past()).outcome == "breach"


@pytest.mark.parametrize(
    ("last_hour", "outcome"),
    [
        (Sample(None), "no_data"),
        (Sample(0.0, 1, 0), "clear"),
        (Sample(0.5, 2, 1), "breach"),
        (Sample(0.25, 4, 1), "clear"),
    ],
)
def test_an_agent_that_goes_to_sleep_after_an_outage_does_not_breach_again(
    last_hour: Sample, outcome: str
) -> None:
    samples = {300: Sample(None), 900: Sample(None), 3_600: last_hour}
    samples |= {21_600: Sample(0.36, 293, 106)}
    assert judge(ERRORS, samples, past(0.005)).outcome == outcome


def test_while_learning_half_of_ten_requests_failing_fires_by_the_guard() -> None:
    verdict = judge(ERRORS, now(0.6, count=10, failures=6), Reference())
    assert (verdict.outcome, verdict.is_guard) == ("breach", True)
    assert "while usual is not known yet" in explain(ERRORS, {}, verdict)
    assert judge(ERRORS, now(0.6, count=9, failures=5), Reference()).outcome == "learning"


def test_above_and_below_judge_their_own_window() -> None:
    above = Rule("dear", "cost_per_request_usd", Condition("above", 5.0), over_s=3_600)
    below = Rule("cache", "cache_hit_ratio", Condition("below", 0.6), min_requests=10)
    assert judge(above, now(0.1) | {3_600: Sample(5.1, 3)}, Reference()).outcome == "breach"
    assert judge(above, now(9.0) | {3_600: Sample(5.0, 3)}, Reference()).outcome == "clear"
    assert judge(below, now(0.5), Reference()).outcome == "breach"
    assert judge(below, now(0.5, count=9), Reference()).outcome == "no_data"


def test_a_cache_that_serves_half_as_much_has_dropped() -> None:
    verdict = judge(CACHE, now(0.05, count=40), past(0.6))
    assert (verdict.outcome, verdict.high) == ("breach", 0.6)
    assert explain(CACHE, {"agent_name": "a"}, verdict) == (
        "a: cache-hit ratio 5 %, 0.1x the usual 60 % at this hour;"
        " 12 of the last 14 days stayed above 60 %. 40 calls in the last 5 min."
    )


def test_a_drop_is_judged_on_more_when_it_is_smaller_and_never_below_the_rule() -> None:
    slow = judge(CACHE, now(0.28, count=40), past(0.6))
    assert (slow.outcome, slow.window_s) == ("breach", 3_600)
    assert judge(CACHE, now(0.31, count=40), past(0.6)).outcome == "clear"
    assert judge(CACHE, now(0.9, count=40), past(0.6)).outcome == "clear"
    assert judge(CACHE, now(0.0, count=40), past(0.0)).outcome == "clear"


def test_one_request_of_three_times_the_dearest_days_fires_at_once() -> None:
    """Two days of the fourteen were dearer: they do not count, and they do not hide it."""
    windows = [
        PastWindow(day, 0.0, 9.0 if day < 2 else 1.5 if day == 7 else 1.0, 30) for day in range(14)
    ]
    reference = reference_of({3_600: windows})
    verdict = judge(DEAR, now(12.4, count=212), reference)
    assert verdict.outcome == "breach"
    assert explain(DEAR, {"agent_name": "a"}, verdict) == (
        "a: one request cost $12.40, 8.3x the $1.50 that none passed on 12 of the last"
        " 14 days. The dearest of 212 requests in the last 1 h."
    )
    taken = step(AlertState(), DEAR, verdict, datetime(2026, 1, 1, tzinfo=UTC))
    assert taken.transition == "fired"
    assert judge(DEAR, now(4.4), reference).outcome == "clear"


def test_a_dear_request_is_worth_a_dollar_and_five_days() -> None:
    cheap = reference_of({3_600: [PastWindow(day, 0.0, 0.01, 30) for day in range(14)]})
    assert judge(DEAR, now(0.99), cheap).outcome == "clear"
    assert judge(DEAR, now(1.0), cheap).outcome == "breach"
    assert judge(DEAR, {86_400: Sample(9.0, 3)}, cheap).outcome == "no_data"
    young = reference_of({3_600: [PastWindow(day, 0.0, 0.01, 30) for day in range(4)]})
    verdict = judge(DEAR, now(9.0), young)
    assert (verdict.outcome, verdict.days) == ("learning", 4)


def test_an_unpriced_share_is_said() -> None:
    verdict = Verdict("breach", 6.0, 900, 30, priced_ratio=0.8)
    rule = Rule("dear", "cost_per_request_usd", Condition("above", 5.0))
    assert explain(rule, {}, verdict).endswith("Only 80 % of the tokens have a price.")


BURNING = Rule("slo", "error_rate", Condition("burning", 0.99, "burning 99%"), by=("agent_name",))


def rates(**failed: tuple[float, float]) -> dict[int, Sample]:
    """Return windows by their names: failures of requests."""
    sizes = {"m5": 300, "m15": 900, "h1": 3_600, "h6": 21_600, "h24": 86_400}
    return {sizes[k]: Sample(f / n, n, f) for k, (f, n) in failed.items()}


@pytest.mark.parametrize(
    ("samples", "outcome", "window_s"),
    [
        (rates(m5=(3, 20), h1=(30, 200)), "breach", 3_600),
        (rates(m5=(0, 20), h1=(30, 200)), "clear", 3_600),  # it is over
        (rates(m5=(3, 20), h1=(4, 25)), "clear", 3_600),  # four failures are few
        (rates(m5=(1, 10), m15=(2, 30), h1=(8, 110), h6=(44, 700)), "breach", 21_600),
        (rates(m15=(0, 30), h1=(4, 110), h6=(30, 700), h24=(90, 2_900)), "breach", 86_400),
        (rates(m5=(0, 9), h1=(1, 200), h6=(5, 900), h24=(20, 4_000)), "clear", 3_600),
        ({}, "no_data", None),
    ],
)
def test_burning_needs_a_long_window_that_counts_and_a_short_one_that_goes_on(
    samples: dict[int, Sample], outcome: str, window_s: int | None
) -> None:
    verdict = judge_burning(BURNING, samples)
    assert (verdict.outcome, verdict.window_s) == (outcome, window_s)


def test_burning_says_how_many_times_what_may_fail() -> None:
    verdict = judge_burning(BURNING, rates(m5=(3, 20), h1=(30, 200)))
    assert explain(BURNING, {"agent_name": "a"}, verdict) == (
        "a: error rate 15 %, 15.0x the 1 % that may fail."
        " 30 of 200 requests failed in the last 1 h."
    )
