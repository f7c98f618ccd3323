"""[[cache_ttl]]: cache writes whose lifetime the emitter leaves out, priced as the user says."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pricing.replay import Call, priced, rows, send, store_with

from taximeter.pricing import PriceFileError
from taximeter.pricing.price_file import parse_prices
from taximeter_collector.explain.cost_steps import priced_tokens

WRITTEN = Call(
    "anthropic",
    "claude-opus-5-5",
    {},
    attributes={
        "taximeter.usage": "",
        "gen_ai.usage.input_tokens": "2000",
        "gen_ai.usage.cache_read.input_tokens": "500",
        "gen_ai.usage.cache_creation.input_tokens": "1000",
        "gen_ai.usage.output_tokens": "100",
        "gen_ai.agent.name": "scout",
    },
)
TOLD = Call(
    "anthropic",
    "claude-opus-5-5",
    {"input_tokens": 500, "cache_read_input_tokens": 500, "cache_creation_input_tokens": 1000,
     "cache_creation": {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 0},
     "output_tokens": 100},
)  # fmt: skip
BESIDE = 500 * 4_000_000 + 500 * 200_000 + 100 * 20_000_000
SHORT, LONG = 1000 * 5_000_000, 1000 * 8_000_000
ALL = '[[cache_ttl]]\nmatch.service_name = "*"\nttl = "1h"\n'


@pytest.mark.parametrize(
    ("rules", "written", "quality"),
    [
        ("", SHORT, "assumed_ttl"),
        ('[[cache_ttl]]\nmatch.service_name = "desk"\nttl = "1h"\n', LONG, "exact"),
        ('[[cache_ttl]]\nmatch.agent_name = "scout"\nttl = "1h"\n', LONG, "exact"),
        ('[[cache_ttl]]\nmatch.model = "claude-*"\nttl = "5m"\n', SHORT, "exact"),
        ('[[cache_ttl]]\nmatch.agent_name = "other"\nttl = "1h"\n', SHORT, "assumed_ttl"),
        (ALL + '[[cache_ttl]]\nmatch.agent_name = "sc*"\nttl = "5m"\n', SHORT, "exact"),
    ],
    ids=["none", "service", "agent", "model", "another agent", "the last decides"],
)
def test_a_write_of_unknown_lifetime_costs_what_the_user_says(
    tmp_path: Path, rules: str, written: int, quality: str
) -> None:
    (row,) = priced(tmp_path, [WRITTEN], rules)
    assert (row["cost_pico"], row["cost_quality"]) == (BESIDE + written, quality)
    assert row["cache_write_cost_pico"] == written
    assert row["cache_saved_pico"] == 500 * 3_800_000 - (written - 1000 * 4_000_000)
    assert (row["cache_write_tokens"], row["cache_write_short_tokens"]) == (1000, None)
    assert ("cache writes live" in row["price_source"]) is (quality == "exact")
    tokens = priced_tokens(row)
    is_long = written == LONG
    assert (tokens["cache_write_short"], tokens["cache_write_long"]) == (
        (0, 1000) if is_long else (1000, 0)
    )


def test_the_rule_is_named_with_its_line(tmp_path: Path) -> None:
    (row,) = priced(tmp_path, [WRITTEN], "\n" + ALL)
    assert row["price_source"].endswith(f"; cache writes live 1h ({tmp_path / 'prices.toml'}:2)")


def test_what_the_emitter_tells_is_believed(tmp_path: Path) -> None:
    (row,) = priced(tmp_path, [TOLD], ALL)
    assert (row["cost_pico"], row["cost_quality"]) == (BESIDE + SHORT, "exact")
    assert "cache writes live" not in row["price_source"]


def test_a_new_rule_changes_no_history_when_a_trace_is_derived_again(tmp_path: Path) -> None:
    with store_with(tmp_path) as store:
        send(store, [WRITTEN])
    with store_with(tmp_path, ALL) as store:
        send(store, [WRITTEN, WRITTEN])
        first, second = rows(store)
    assert (first["cost_pico"], first["cost_quality"]) == (BESIDE + SHORT, "assumed_ttl")
    assert (second["cost_pico"], second["cost_quality"]) == (BESIDE + LONG, "exact")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ('[[cache_ttl]]\nttl = "1h"', "give match.service_name"),
        ('[[cache_ttl]]\nmatch.model = "*"', "one of 5m, 30m, 1h, 12h"),
        ('[[cache_ttl]]\nmatch.model = "*"\nttl = "2h"', "prices.toml:3: unknown ttl '2h'"),
        ('[[cache_tll]]\nmatch.model = "*"', "did you mean 'cache_ttl'?"),
    ],
)
def test_a_wrong_rule_is_refused(entry: str, says: str) -> None:
    with pytest.raises(PriceFileError) as caught:
        parse_prices(entry, "prices.toml")
    assert says in str(caught.value)
