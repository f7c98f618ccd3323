"""A call whose output nobody counted: unpriced, with the least and the most that it can have cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.pricing.replay import Call, priced, rows, send, store_with

from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.prices.reprice_api import Repricer
from taximeter_collector.store.store import Store

PROMPT = {
    "input_tokens": 1_000,
    "cache_read_input_tokens": 2_000,
    "cache_creation_input_tokens": 300,
    "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
}
SONNET = "claude-sonnet-5-5"
"""Pico-USD a token: input 2e6, read 0.1e6, write 2.5e6 and 4e6, output 10e6."""
PROMPT_PICO = 1_000 * 2_000_000 + 2_000 * 100_000 + 100 * 2_500_000 + 200 * 4_000_000
FLOOR, CAP = "taximeter.output_tokens.lower_bound", "gen_ai.request.max_tokens"


def broken(usage: dict[str, Any], shape: str = "anthropic", **more: str) -> Call:
    said = {key.replace("__", "."): value for key, value in more.items()}
    provider, model = ("anthropic", SONNET) if shape == "anthropic" else ("openai", "gpt-5")
    return Call(provider, model, usage, shape, attributes=said)


CASES: list[tuple[Call, int | None, int | None]] = [
    # the prompt alone; then with some output; then with the most that was allowed
    (broken(PROMPT), PROMPT_PICO, None),
    (broken(PROMPT, **{FLOOR: "7"}), PROMPT_PICO + 7 * 10_000_000, None),
    (broken(PROMPT, **{FLOOR: "7", CAP: "50"}), PROMPT_PICO + 7 * 10_000_000, PROMPT_PICO + 50 * 10_000_000),
    (broken(PROMPT, **{CAP: "50"}), PROMPT_PICO, PROMPT_PICO + 50 * 10_000_000),
    # more pieces than tokens were allowed: then a piece was no token; text and nonsense are no counts
    (broken(PROMPT, **{FLOOR: "60", CAP: "50"}), PROMPT_PICO + 50 * 10_000_000, PROMPT_PICO + 50 * 10_000_000),
    (broken(PROMPT, **{FLOOR: "many", CAP: "-5"}), PROMPT_PICO, None),
    # several choices may each use the limit; other clients say it in JSON
    (broken(PROMPT, **{CAP: "50", "gen_ai.request.choice.count": "3"}), PROMPT_PICO, PROMPT_PICO + 150 * 10_000_000),
    (broken(PROMPT, **{"llm.invocation_parameters": '{"max_tokens": 50, "n": 2}'}), PROMPT_PICO, PROMPT_PICO + 100 * 10_000_000),
    (broken(PROMPT, **{"llm.invocation_parameters": "{not json"}), PROMPT_PICO, None),
    # a prompt that nobody told: only what came is known
    (broken({}, "openai_chat", **{FLOOR: "7", CAP: "50"}), 7 * 10_000_000, None),
    (broken({}, "openai_chat", **{CAP: "50"}), None, None),
    (broken({}, "openai_chat"), None, None),
    # counted: the cost is known, and there are no bounds
    (broken(PROMPT | {"output_tokens": 9}, **{FLOOR: "7", CAP: "50"}), None, None),
]  # fmt: skip


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return priced(tmp_path_factory.mktemp("bounds"), [call for call, _, _ in CASES])


@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_bounds_are_the_known_tokens_at_their_prices(
    stored: list[dict[str, Any]], number: int
) -> None:
    row, (_, low, high) = stored[number], CASES[number]
    assert (row["cost_lower_bound_pico"], row["cost_upper_bound_pico"]) == (low, high)


def test_a_known_cost_has_no_bounds_and_an_unknown_one_stays_unpriced(
    stored: list[dict[str, Any]],
) -> None:
    for row in stored:
        low, high = row["cost_lower_bound_pico"], row["cost_upper_bound_pico"]
        if row["cost_pico"] is None:
            assert row["cost_quality"] == "unpriced"
        else:
            assert (low, high) == (None, None)
        assert low is None or high is None or low <= high


def test_an_untold_share_of_cached_tokens_widens_the_bounds(tmp_path: Path) -> None:
    """Plain GenAI attributes: a prompt, and nothing of its cache: all read, or all written."""
    call = Call("anthropic", SONNET, {"input_tokens": 1_000}, "anthropic", attributes={CAP: "50"})
    row = priced(tmp_path, [call])[0]
    assert row["cost_lower_bound_pico"] is not None
    assert row["cost_lower_bound_pico"] <= 1_000 * 2_000_000
    assert row["cost_upper_bound_pico"] >= 1_000 * 2_000_000 + 50 * 10_000_000


CARD = "[[price]]\nmodel = 'mine'\ninput = '{}'\noutput = '9'\n"


def bounds(store: Store) -> list[tuple[int | None, int | None]]:
    return [(r["cost_lower_bound_pico"], r["cost_upper_bound_pico"]) for r in rows(store)]


def test_bounds_are_priced_again_with_the_rest_and_taken_back(tmp_path: Path) -> None:
    cut = Call("acme", "mine", {"prompt_tokens": 1_000}, "openai_chat", attributes={CAP: "50"})
    with store_with(tmp_path, CARD.format(3)) as store:
        send(store, [cut])
        first = bounds(store)
        (tmp_path / "prices.toml").write_text(CARD.format(5))
        follower = Deriver(store, settle_s=0)
        try:
            repricer = Repricer(store, follower)
            seen = repricer.answer(b"{}")
            wanted = {"apply": True, "price_version": seen["price_version"]}
            repricer.answer(json.dumps(wanted).encode())
            again = bounds(store)
            repricer.answer(json.dumps({"undo": None}).encode())
        finally:
            follower.close()
        assert first == [(1_000 * 3_000_000, 1_000 * 3_000_000 + 50 * 9_000_000)]
        assert again == [(1_000 * 5_000_000, 1_000 * 5_000_000 + 50 * 9_000_000)]
        assert bounds(store) == first
