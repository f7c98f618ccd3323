"""The month's end from the days that were: exact where days are alike, wide where they differ, honest where few."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

import pytest

from taximeter_collector.forecast import Forecast, TooFewDays, forecast_month, history_start

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)  # a Friday; 10.5 days are left
TODAY = NOON.date()


def days(number: int, usd: float = 10.0) -> dict[date, float]:
    """Return spend of complete days, and of the day before them that counts for nothing."""
    return {TODAY - timedelta(days=i): usd for i in range(1, number + 2)}


@pytest.mark.parametrize("number", [0, 3, 6])
def test_few_days_are_no_forecast(number: int) -> None:
    spend = days(number) if number else {}
    found = forecast_month(spend, NOON)
    assert isinstance(found, TooFewDays)
    assert (found.days, found.needed) == (number, 7)
    assert found.spent_usd == sum(spend.values())


def test_days_that_are_alike_leave_no_doubt() -> None:
    found = forecast_month(days(30) | {TODAY: 5.0}, NOON)
    assert isinstance(found, Forecast)
    assert found.spent_usd == 19 * 10 + 5
    assert found.low_usd == found.expected_usd == found.high_usd == pytest.approx(300)
    assert (found.days, found.knows_weekends) == (28, True)


def test_weekends_are_known_after_two_weeks() -> None:
    spend = {day: 2.0 if day.weekday() >= 5 else 10.0 for day in days(20)}
    found = forecast_month(spend, NOON)
    assert isinstance(found, Forecast) and found.knows_weekends
    # Half of Friday, two weekends, and Monday to Friday and a Monday.
    assert found.expected_usd - found.spent_usd == pytest.approx(5 + 4 * 2 + 6 * 10)
    early = forecast_month({d: usd for d, usd in spend.items() if d > date(2026, 11, 8)}, NOON)
    assert isinstance(early, Forecast) and not early.knows_weekends


def test_a_day_without_spend_cost_nothing() -> None:
    spend = {day: usd for day, usd in days(10).items() if day.day % 2}
    found = forecast_month(spend, NOON)
    assert isinstance(found, Forecast)
    assert 10 * 4 < found.expected_usd - found.spent_usd < 10 * 6


def test_the_end_is_within_the_interval_four_times_in_five() -> None:
    chance = random.Random(7)
    inside = 0
    for _ in range(400):
        spend = {TODAY - timedelta(days=i): chance.gauss(10, 2) for i in range(1, 30)}
        found = forecast_month(spend, NOON)
        assert isinstance(found, Forecast)
        rest = chance.gauss(10, 2) * 0.5 + sum(chance.gauss(10, 2) for _ in range(10))
        inside += found.low_usd <= found.spent_usd + rest <= found.high_usd
    assert 0.74 <= inside / 400 <= 0.86


def test_the_last_hour_of_a_month_has_hardly_anything_left() -> None:
    now = datetime(2026, 11, 30, 23, 59, tzinfo=UTC)
    spend = {now.date() - timedelta(days=i): 10.0 for i in range(1, 30)}
    found = forecast_month(spend, now)
    assert isinstance(found, Forecast)
    assert found.expected_usd - found.spent_usd < 0.01


def test_the_history_covers_the_month_and_four_weeks() -> None:
    assert history_start(NOON) == datetime(2026, 10, 23, tzinfo=UTC)
    assert history_start(datetime(2026, 12, 31, tzinfo=UTC)) == datetime(2026, 12, 1, tzinfo=UTC)
