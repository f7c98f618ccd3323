"""History is priced again only when asked: shown first, kept as it was, taken back on demand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.pricing.replay import Call, export, rows, send, store_with

from taximeter_collector.derive.derive import derive_step, derived_batch
from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.derive.verify import verify_window
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.prices.reprice_api import Repricer
from taximeter_collector.query.read_api import QueryFault
from taximeter_collector.store.store import Store

USD = 10**12
CHAT = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
CARD = "[[price]]\nmodel = 'mine'\ninput = '{}'\noutput = '9'\n"
CALLS = [
    Call("acme", "mine", CHAT, "openai_chat", at="2026-11-18T12:00:00+00:00"),
    Call("acme", "mine", CHAT, "openai_chat", at="2026-11-20T12:00:00+00:00"),
    Call("acme", "later", CHAT, "openai_chat", at="2026-11-20T12:00:30+00:00"),
    Call("anthropic", "claude-haiku-4-5", {"input_tokens": 7, "output_tokens": 1}),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_with(tmp_path, CARD.format(3)) as store:
        send(store, CALLS)
        yield store


def change_prices(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(CARD.format(5) + CARD.replace("mine", "later").format(1))


def ask(store: Store, **document: Any) -> dict[str, Any]:
    follower = Deriver(store, settle_s=0)
    try:
        return Repricer(store, follower).answer(json.dumps(document).encode())
    finally:
        follower.close()


def costs(store: Store) -> list[float | None]:
    return [None if row["cost_pico"] is None else row["cost_pico"] / USD for row in rows(store)[:3]]


def minutes_usd(store: Store) -> float:
    (row,) = rows(store, "select sum(cost_pico) as cost from usage_minute")
    return float(row["cost"]) / USD


def requests_usd(store: Store) -> float:
    (row,) = rows(store, "select sum(cost_pico) as cost from requests")
    return float(row["cost"]) / USD


def test_a_look_shows_the_difference_and_changes_nothing(store: Store, tmp_path: Path) -> None:
    before = rows(store)
    change_prices(tmp_path)
    found = ask(store)
    assert [
        (row["day"], row["model"], row["calls"], row["newly_priced"], row["before_usd"], row["after_usd"])
        for row in found["rows"]
    ] == [
        ("2026-11-18", "mine", 1, 0, 3, 5),
        ("2026-11-20", "mine", 1, 0, 3, 5),
        ("2026-11-20", "later", 1, 1, 0, 1),
    ]  # fmt: skip
    assert (found["before_usd"], found["after_usd"], found["difference_usd"]) == (6, 11, 5)
    assert found["price_version"] != found["running_price_version"]
    assert rows(store) == before
    assert not rows(store, "from repricings")


def test_what_is_applied_is_in_every_table_and_remembers_the_first_price(
    store: Store, tmp_path: Path
) -> None:
    untouched = minutes_usd(store) - 6
    change_prices(tmp_path)
    seen = ask(store)
    done = ask(store, apply=True, price_version=seen["price_version"])
    assert (done["repricing_id"], done["calls"], done["difference_usd"]) == (1, 3, 5)
    assert costs(store) == [5, 5, 1]
    assert minutes_usd(store) == pytest.approx(11 + untouched)
    assert requests_usd(store) == pytest.approx(11 + untouched)
    mine, _, later, haiku = rows(store)
    assert mine["first_cost_pico"] == 3 * USD
    assert mine["first_price_source"].endswith("prices.toml:1, undated")
    assert mine["price_version"] == seen["price_version"]
    assert later["first_cost_pico"] is None
    assert later["first_price_version"] == mine["first_price_version"]
    assert haiku["first_price_version"] is None
    (record,) = rows(store, "select * exclude (started_at, finished_at, undone_at) from repricings")
    assert (record["calls"], record["before_usd"], record["after_usd"]) == (3, 6, 11)
    assert len(rows(store, "select before_usd from repriced_calls")) == 3
    again = ask(store)
    assert again["rows"] == []


def test_an_undo_puts_back_what_was(store: Store, tmp_path: Path) -> None:
    before, minutes, requests = rows(store), minutes_usd(store), requests_usd(store)
    change_prices(tmp_path)
    ask(store, apply=True, price_version=ask(store)["price_version"])
    assert rows(store) != before
    assert ask(store, undo=None)["is_undone"] is True
    assert rows(store) == before
    assert (minutes_usd(store), requests_usd(store)) == (minutes, requests)
    with pytest.raises(QueryFault, match="nothing to undo"):
        ask(store, undo=None)


def test_repricings_are_undone_from_the_last_to_the_first(store: Store, tmp_path: Path) -> None:
    for usd in (5, 7):
        (tmp_path / "prices.toml").write_text(CARD.format(usd))
        ask(store, apply=True, price_version=ask(store)["price_version"])
    assert costs(store)[0] == 7
    assert rows(store)[0]["first_cost_pico"] == 3 * USD
    with pytest.raises(QueryFault, match="Repricing 2 is the last in force"):
        ask(store, undo=1)
    ask(store, undo=2)
    assert (costs(store)[0], rows(store)[0]["first_cost_pico"]) == (5, 3 * USD)
    ask(store, undo=1)
    assert (costs(store)[0], rows(store)[0]["first_cost_pico"]) == (3, None)


def test_only_the_asked_time_is_priced_again(store: Store, tmp_path: Path) -> None:
    change_prices(tmp_path)
    window = {"from": "2026-11-20", "to": "2026-11-21"}
    seen = ask(store, **window)
    ask(store, apply=True, price_version=seen["price_version"], **window)
    assert costs(store) == [3, 5, 1]


def test_what_was_looked_at_is_what_is_applied(store: Store, tmp_path: Path) -> None:
    change_prices(tmp_path)
    seen = ask(store)
    (tmp_path / "prices.toml").write_text(CARD.format(50))
    with pytest.raises(QueryFault, match="changed since"):
        ask(store, apply=True, price_version=seen["price_version"])
    (tmp_path / "prices.toml").write_text("[[price]]\nmodle = 'x'\n")
    with pytest.raises(QueryFault, match=r"prices.toml:2: unknown key 'modle'"):
        ask(store)
    assert costs(store) == [3, 3, None]


def test_new_calls_have_the_new_list(store: Store, tmp_path: Path) -> None:
    change_prices(tmp_path)
    ask(store, apply=True, price_version=ask(store)["price_version"])
    send(store, [CALLS[0]], first=9)
    assert rows(store)[-1]["cost_pico"] == 5 * USD


@pytest.mark.parametrize("is_undone", [False, True])
def test_late_spans_do_not_price_again(tmp_path: Path, is_undone: bool) -> None:
    """A restart with another list, then another span of the trace: the call keeps its price."""
    with store_with(tmp_path, CARD.format(3)) as store:
        send(store, CALLS)
        if is_undone:
            change_prices(tmp_path)
            ask(store, apply=True, price_version=ask(store)["price_version"])
            ask(store, undo=None)
    change_prices(tmp_path)
    again = Store(tmp_path / "data", tmp_path / "prices.toml")
    try:
        ingest = Ingest(again)
        ingest.submit("traces", export([CALLS[0]])).result(30)  # delivered once more
        ingest.submit("traces", export(CALLS[1:3], first=2)).result(30)
        ingest.close()
        with again.cursor() as cursor:
            derive_step(cursor, again.prices, derived_batch(cursor))
        assert costs(again) == [3, 3, None]
        with again.cursor() as cursor:
            start = CALLS[0].at
            report = verify_window(again, cursor, *_whole(start))
        assert report.is_right
    finally:
        again.close()


def _whole(start: str) -> tuple[Any, Any]:
    from datetime import datetime, timedelta

    first = datetime.fromisoformat(start)
    return first - timedelta(hours=1), first + timedelta(days=5)
