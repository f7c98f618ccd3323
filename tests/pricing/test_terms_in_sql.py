"""On what terms a call was made, and whose cost counts: from a span and a price file to `calls`."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.pricing.replay import Call, priced

USD = 10**12
PLAIN = {"input_tokens": 1_000_000, "output_tokens": 0}
OPUS = Call("anthropic", "claude-haiku-4-5", PLAIN)


def usd(row: dict[str, Any]) -> float | None:
    return None if row["cost_pico"] is None else row["cost_pico"] / USD


@pytest.mark.parametrize(
    ("match", "call", "is_meant"),
    [
        ("match.service_name = 'desk'", OPUS, True),
        ("match.service_name = 'night*'", OPUS, False),
        ("match.service_name = ['night*', 'DESK']", OPUS, True),
        ("match.environment = 'prod'", OPUS, True),
        ("match.environment = 'prod'\nmatch.service_name = 'night*'", OPUS, False),
        ("match.model = 'claude-*'", OPUS, True),
        ("match.provider = 'anthropic'", OPUS, True),
        ("match.provider = 'azure'", Call("azure.ai.openai", "gpt-5", {"prompt_tokens": 800_000, "completion_tokens": 0}, "openai_chat"), True),
        ("match.server_address = '*.acme'", Call("anthropic", "claude-haiku-4-5", PLAIN, attributes={"server.address": "llm.acme"}), True),
        ("match.agent_name = 'evals'", Call("anthropic", "claude-haiku-4-5", PLAIN, attributes={"gen_ai.agent.name": "evals"}), True),
        ("match.tag = 'offline'", Call("anthropic", "claude-haiku-4-5", PLAIN, attributes={"taximeter.tags": "a,offline"}), True),
        ("match.tag = 'offline'", OPUS, False),
    ],
)  # fmt: skip
def test_batch_traffic_by_rule(tmp_path: Path, match: str, call: Call, is_meant: bool) -> None:
    (row,) = priced(tmp_path, [call], f"[[batch]]\n{match}\nbatch = true\n")
    assert (usd(row), row["is_batch"]) == ((0.5, True) if is_meant else (1, False))


def test_the_last_batch_rule_decides_also_against_the_span(tmp_path: Path) -> None:
    said = Call("anthropic", "claude-haiku-4-5", PLAIN, attributes={"taximeter.batch": "true"})
    rules = (
        "[[batch]]\nmatch.service_name = '*'\nbatch = true\n"
        "[[batch]]\nmatch.environment = 'prod'\nbatch = false\n"
    )
    (row,) = priced(tmp_path, [said], rules)
    assert (usd(row), row["is_batch"]) == (1, False)


ON_TERMS: list[tuple[Call, float | None]] = [
    (Call("anthropic", "claude-opus-5-5", PLAIN | {"speed": "fast"}), 8),
    (Call("anthropic", "claude-opus-5-5", PLAIN | {"service_tier": "batch"}), 2),
    (Call("anthropic", "claude-opus-5-5", PLAIN | {"inference_geo": "us"}), 4.4),
    (Call("anthropic", "claude-opus-5-5", PLAIN | {"inference_geo": "global"}), 4),
    (Call("anthropic", "claude-opus-5-5", PLAIN | {"service_tier": "priority"}), None),
    (Call("gcp.gemini", "gemini-3.8-flash", {"promptTokenCount": 10**6, "candidatesTokenCount": 0, "trafficType": "ON_DEMAND_FLEX"}, "gemini"), 0.375),
    (Call("gcp.gemini", "gemini-3.8-flash", {"prompt_token_count": 10**6, "candidates_token_count": 0, "traffic_type": "TrafficType.ON_DEMAND_PRIORITY"}, "gemini"), 1.35),
    (Call("gcp.vertex_ai", "gemini-2.5-pro", {"promptTokenCount": 10**5, "candidatesTokenCount": 9, "trafficType": "PROVISIONED_THROUGHPUT"}, "gemini"), 0),
    (Call("gcp.vertex_ai", "gemini-2.5-pro", {"promptTokenCount": 10**5, "candidatesTokenCount": 0, "trafficType": "ON_DEMAND_NEWKIND"}, "gemini"), None),
]  # fmt: skip


@pytest.fixture(scope="module")
def on_terms(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The stored rows of all those calls."""
    return priced(tmp_path_factory.mktemp("terms"), [call for call, _ in ON_TERMS])


@pytest.mark.parametrize("number", range(len(ON_TERMS)), ids=lambda n: str(ON_TERMS[n][0].usage))
def test_the_usage_object_says_on_what_terms(on_terms: list[dict[str, Any]], number: int) -> None:
    assert usd(on_terms[number]) == ON_TERMS[number][1]


def test_a_tier_on_the_span_is_not_lost_to_a_standard_in_the_usage(tmp_path: Path) -> None:
    call = Call("anthropic", "claude-opus-5-5", PLAIN | {"service_tier": "standard"},
                attributes={"taximeter.service_tier": "fast"})  # fmt: skip
    (row,) = priced(tmp_path, [call])
    assert usd(row) == 8


def test_an_advisors_tokens_cost_what_its_own_model_costs(tmp_path: Path) -> None:
    advice = {"type": "advisor_message", "model": "claude-opus-5-5", "input_tokens": 1_000,
              "output_tokens": 100}  # fmt: skip
    usage = {"input_tokens": 10_000, "output_tokens": 500, "iterations": [advice]}
    lost = usage | {"iterations": [advice | {"model": "claude-fable-99"}]}
    calls = [Call("anthropic", "claude-sonnet-5-5", usage), Call("anthropic", "claude-sonnet-5-5", lost)]  # fmt: skip
    with_advisor, unknown = priced(tmp_path, calls)
    own, advised = 10_000 * 2_000_000 + 500 * 10_000_000, 1_000 * 4_000_000 + 100 * 20_000_000
    assert with_advisor["cost_pico"] == own + advised
    assert with_advisor["input_cost_pico"] == 10_000 * 2_000_000 + 1_000 * 4_000_000
    assert with_advisor["other_models"] == [
        {"model": "claude-opus-5-5", "tokens": 1_100, "cost_pico": advised}
    ]
    assert "claude-sonnet-5-5" in with_advisor["price_source"]
    assert "claude-opus-5-5" in with_advisor["price_source"]
    assert unknown["cost_pico"] is None
    assert unknown["cost_quality"] == "unpriced"


CHAT = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
ROUTED = Call("openrouter", "anthropic/claude-opus-5.5", CHAT | {"cost": 0.123456}, "openai_chat")
UNKNOWN = Call("acme", "mystery", CHAT, "openai_chat",
               attributes={"gen_ai.usage.cost": "0.25"})  # fmt: skip
LITELLM = Call("openai", "gpt-5", CHAT, "openai_chat", attributes={"gen_ai.usage.cost": "2.5"})


def test_openrouters_own_cost_is_what_was_charged(tmp_path: Path) -> None:
    by_name, by_address = priced(
        tmp_path,
        [ROUTED, Call("openai", "anthropic/claude-opus-5.5", ROUTED.usage, "openai_chat",
                      attributes={"server.address": "openrouter.ai"})],
    )  # fmt: skip
    for row in (by_name, by_address):
        assert row["cost_pico"] == Decimal("0.123456") * USD
        assert row["cost_quality"] == "reported"
        assert row["cost_computed_pico"] == 4 * USD
        assert "prices.toml" in row["price_source"]


@pytest.mark.parametrize(
    ("rules", "cases"),
    [
        ("", [(UNKNOWN, None, "unpriced")]),
        ("allow_reported_fallback = true\n",
         [(UNKNOWN, 0.25, "reported"), (LITELLM, 1.25, "exact"), (ROUTED, 0.123456, "reported")]),
        ("[[reported]]\nmatch.service_name = 'desk'\nuse = 'always'\n", [(LITELLM, 2.5, "reported")]),
        ("[[reported]]\nmatch.service_name = 'other'\nuse = 'always'\n", [(LITELLM, 1.25, "exact")]),
        ("[[reported]]\nuse = 'never'\n", [(ROUTED, 4, "exact")]),
        ("[[reported]]\nuse = 'fallback'\n[[price]]\nmodel = 'mystery'\ninput = '3'\noutput = '4'\n",
         [(UNKNOWN, 3, "exact")]),
    ],
)  # fmt: skip
def test_override_before_list_before_stated_cost_before_unknown(
    tmp_path: Path, rules: str, cases: list[tuple[Call, float | None, str]]
) -> None:
    parts = ("input", "cache_read", "cache_write", "output", "other")
    found = priced(tmp_path, [call for call, _, _ in cases], rules)
    for row, (_, expected, quality) in zip(found, cases, strict=True):
        assert (usd(row), row["cost_quality"]) == (expected, quality)
        if expected is not None:
            assert sum(row[f"{part}_cost_pico"] for part in parts) == row["cost_pico"]


def test_an_absurd_stated_cost_is_no_cost(tmp_path: Path) -> None:
    wild = [Call("acme", "x", CHAT, "openai_chat", attributes={"gen_ai.usage.cost": cost})
            for cost in ("1e300", "inf", "nan", "-1", "lots")]  # fmt: skip
    assert all(
        usd(row) is None for row in priced(tmp_path, wild, "allow_reported_fallback = true\n")
    )


def test_every_price_names_its_source_and_since_when_it_holds(tmp_path: Path) -> None:
    own = "\n[[price]]\nmodel = 'mine'\nfrom = 2026-11-01\ninput = '1'\noutput = '1'\nlabel = 'deal'\n"
    listed, mine = priced(tmp_path, [Call("openai", "gpt-5.6-sol", CHAT, "openai_chat"),
                                     Call("acme", "mine", CHAT, "openai_chat")], own)  # fmt: skip
    assert listed["price_source"] == "genai-prices 0.2.3 openai:gpt-5.6-sol, from 2026-08-21"
    assert mine["price_source"] == f"{tmp_path / 'prices.toml'}:2 deal, from 2026-11-01"
    assert listed["price_version"].startswith("genai-prices 0.2.3, overrides ")
