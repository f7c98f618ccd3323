"""What the Cache page asks and says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from taximeter_collector.cache_reuse import CAUSES, LifetimeAdvice
from taximeter_dashboard import queries
from taximeter_dashboard.scope import Scope
from taximeter_dashboard.views.cache import CAUSE_TEXT, lifetime_item, part_followed

from .test_costs import add_minute
from .test_queries import NOW, Database, database, scope

__all__ = ["database", "scope"]  # fixtures


def test_the_agents_with_most_prompt_tokens_have_a_line(database: Database, scope: Scope) -> None:
    for i in range(8):
        add_minute(database, timedelta(minutes=3), agent_name=f"a{i}", hit_read_tokens=i,
                   hit_denominator_tokens=10 * (i + 1))  # fmt: skip
    add_minute(database, timedelta(minutes=3), agent_name="silent", tokens=10**9)
    series = queries.hit_ratio_by_agent(database, scope)
    assert list(series.values) == ["a7", "a6", "a5", "a4", "a3"]
    assert [v for v in series.values["a7"] if v is not None] == [7 / 80]


def test_who_does_not_report_caching_is_not_listed(database: Database, scope: Scope) -> None:
    add_minute(database, timedelta(minutes=3), agent_name="a", model="m", hit_read_tokens=0,
               hit_denominator_tokens=10, tokens=10)  # fmt: skip
    add_minute(database, timedelta(minutes=3), agent_name="b", model="m", tokens=10)
    rows = queries.cache_by_agent_and_model(database, scope)
    assert [(row["agent_name"], row["cache_hit_ratio"]) for row in rows] == [("a", 0.0)]


def add_call(database: Database, age: timedelta, **values: Any) -> None:
    row = {"trace_id": str(age), "span_id": str(age), "is_billed": True, "kind": "llm", "cache_reported": True,
           "start_time": NOW - age, "end_time": NOW - age, **values}  # fmt: skip
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    database.connection.execute(
        f"insert into rollup.call ({names}) values ({marks})", list(row.values())
    )


def test_every_cause_has_words() -> None:
    assert set(CAUSE_TEXT) == set(CAUSES)


def test_fates_of_an_empty_store_ask_for_no_advice(database: Database, scope: Scope) -> None:
    fates = queries.prefix_fates(database, scope, NOW, most=10)
    assert (fates.followed, fates.calls, fates.rows) == (0, 0, [])
    assert queries.advice_of(database, fates.rows) == []
    assert queries.added(fates.rows, "missed_usd") is None


@pytest.mark.parametrize(
    ("most", "followed", "text"),
    [(3, 3, "the newest 3 of 5 calls"), (5, 5, ""), (100, 5, "")],
    ids=["fewer", "just all", "all"],
)
def test_the_newest_calls_are_followed_and_the_page_says_of_how_many(
    database: Database, scope: Scope, most: int, followed: int, text: str
) -> None:
    for i in range(5):
        add_call(database, timedelta(minutes=3 + i), prompt_tokens=2_000 + i)
    add_call(database, timedelta(minutes=1), prompt_tokens=9, cache_reported=False)
    fates = queries.prefix_fates(database, scope, NOW, most)
    assert (fates.followed, fates.calls) == (followed, 5)
    assert sum(row["prompt_tokens"] for row in fates.rows) == sum(
        2_000 + i for i in range(followed)
    )
    assert part_followed(fates, "") == text


@pytest.mark.parametrize(
    ("values", "badge", "meta"),
    [
        ({"short_usd": 5.0, "long_usd": 3.0, "now_usd": 5.0}, "take an hour", "$2.00 saved"),
        ({"short_usd": 3.0, "long_usd": 5.0, "now_usd": 5.0}, "take 5 minutes", "$2.00 saved"),
        ({"short_usd": 3.0, "long_usd": 5.0, "now_usd": 3.0}, "keep it", ""),
        ({"short_usd": 3.0, "long_usd": 2.95, "now_usd": 3.0}, "keep it", ""),
    ],
)
def test_advice_is_given_where_it_saves_enough(
    values: dict[str, Any], badge: str, meta: str
) -> None:
    advice = LifetimeAdvice("a", "p", "m", long_share=0.0, late_share=0.6, break_even_share=0.4,
                            **values)  # fmt: skip
    item = lifetime_item(advice)
    assert item["badges"][0]["text"] == badge
    assert item["meta"] == meta
    assert "60%" in item["text"] and "40%" in item["text"]
