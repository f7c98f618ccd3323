"""A guard's total follows the rules of the price file about traffic, as the stored cost does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.instrumentation.models import ASK, GPT

import taximeter
from taximeter import lifecycle
from taximeter.guard import faults
from taximeter.runs import call_cost
from taximeter.runs.call_cost import Terms
from taximeter.runs.model_calls import account
from taximeter.testing import FakeModel, SpanList

PLAIN = {"input_tokens": 1_000_000, "output_tokens": 0}
ROUTED = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "cost": 0.5}


@pytest.fixture
def price_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "prices.toml"
    monkeypatch.setenv("TAXIMETER_PRICES_FILE", str(file))
    call_cost.price_book.cache_clear()
    call_cost.dearest.cache_clear()
    yield file
    call_cost.price_book.cache_clear()


def spent(
    usage: dict[str, Any], shape: str = "anthropic", provider: str = "anthropic",
    model: str = "claude-opus-5-5", **more: Any,
) -> float:  # fmt: skip
    """Return what one call of agent `scout` for user u-1 of tenant acme costs."""

    @taximeter.agent("scout")
    def run() -> None:
        span = lifecycle.tracer().start_span("chat")
        account(span, usage, shape, Terms(provider, model, **more))
        span.end()

    with taximeter.request(user="u-1", tenant="acme", tags=["beta", "night"]) as request:
        run()
    return request.cost_usd if not request.unpriced_calls else -1


@pytest.mark.parametrize(
    ("match", "is_meant"),
    [
        ('match.service_name = "tests"', True),
        ('match.service_name = "other"', False),
        ('match.agent_name = "sco*"', True),
        ('match.tenant = "acme"\nmatch.user_id = "u-*"', True),
        ('match.tenant = "acme"\nmatch.user_id = "v-*"', False),
        ('match.tag = "night"', True),
        ('match.tag = "day"', False),
        ('match.provider = "anthropic"\nmatch.model = "claude-*"', True),
        ('match.server_address = "*.acme"', True),
        ('match.dialect = "taximeter"', True),
        ('match.environment = "prod"', False),
    ],
)
def test_batch_traffic_by_rule(
    spans: SpanList, price_file: Path, match: str, is_meant: bool
) -> None:
    price_file.write_text(f"[[batch]]\n{match}\nbatch = true\n")
    assert spent(PLAIN, server_address="llm.acme") == (2 if is_meant else 4)


def test_a_rule_takes_back_what_the_call_says(spans: SpanList, price_file: Path) -> None:
    price_file.write_text('[[batch]]\nmatch.service_name = "*"\nbatch = false\n')
    assert spent(PLAIN, batch=True) == 4


@pytest.mark.parametrize(
    ("rules", "provider", "model", "expected"),
    [
        ("", "openrouter", "anthropic/claude-opus-5.5", 0.5),
        ("", "openai", "gpt-5", 1.25),
        ('[[reported]]\nuse = "never"\n', "openrouter", "anthropic/claude-opus-5.5", 4),
        ('[[reported]]\nmatch.agent_name = "scout"\nuse = "always"\n', "openai", "gpt-5", 0.5),
        ("allow_reported_fallback = true\n", "openai", "gpt-5", 1.25),
        ("allow_reported_fallback = true\n", "acme", "mystery", 0.5),
        ("", "acme", "mystery", -1),
    ],
)
def test_a_stated_cost_counts_by_the_same_rules(
    spans: SpanList, price_file: Path, rules: str, provider: str, model: str, expected: float
) -> None:
    price_file.write_text(rules)
    assert spent(ROUTED, "openai_chat", provider, model) == expected


@pytest.mark.parametrize("overshoot", ["one_call", "none"])
def test_a_wrong_price_file_does_not_lift_a_budget(
    spans: SpanList, price_file: Path, monkeypatch: pytest.MonkeyPatch, overshoot: Any
) -> None:
    """Nothing has a price then, so each call counts by its provider's dearest."""
    monkeypatch.setattr(faults, "reraise", False)
    price_file.write_text("nonsense = [")
    client = FakeModel().openai()
    limits = taximeter.Limits(cost_usd=1.0, overshoot=overshoot)
    with taximeter.request(limits=limits) as request:
        with pytest.raises(
            taximeter.CostBudgetReached, match=r"\$0.0000 is known, \$.* calls without a known cost"
        ):
            for _ in range(200):
                client.chat.completions.create(model=GPT, messages=ASK, max_completion_tokens=10)
        used = request.used()
    assert used.cost_usd == 0
    assert used.unpriced_calls == used.tokens / 110 == request.model_calls > 1
    assert used.unsettled_usd > 0.5
