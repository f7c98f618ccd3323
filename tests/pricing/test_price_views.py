"""What the views say about prices: drift of stated costs, what has no price and how to price it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pricing.replay import Call, rows, send, store_with

from taximeter_collector.metrics import METRICS

CHAT = {"prompt_tokens": 1_000_000, "completion_tokens": 0}


def said(cost: str, model: str = "gpt-5") -> Call:
    return Call("openai", model, CHAT, "openai_chat", attributes={"gen_ai.usage.cost": cost})


def test_drift_and_what_has_no_price(tmp_path: Path) -> None:
    calls = [said("1.25"), said("1.5"), Call("openai", "gpt-5", CHAT, "openai_chat"),
             said("9", "mystery"), Call("azure.ai.openai", "prod-x", CHAT, "openai_chat"),
             Call("openai", "gpt-5", CHAT, "openai_chat", attributes={"taximeter.service_tier": "scale"})]  # fmt: skip
    with store_with(tmp_path) as store:
        send(store, calls)
        (drift,) = rows(store, "from price_drift")
        assert (drift["dialect"], drift["model"], drift["calls"]) == ("taximeter", "gpt-5", 2)
        assert drift["price_drift_ratio"] == pytest.approx(0.25 / 2.5)
        (metric,) = rows(store, METRICS["price_drift_ratio"].sql)
        assert metric["price_drift_ratio"] == pytest.approx(0.1)
        unpriced = rows(
            store, "select model, tokens, calls, how_to_price from unpriced_models order by model"
        )
    assert [(row["model"], row["tokens"], row["calls"]) for row in unpriced] == [
        ("gpt-5", 1_000_000, 1), ("mystery", 1_000_000, 1), ("prod-x", 1_000_000, 1)]  # fmt: skip
    tier, price, alias = (row["how_to_price"] for row in unpriced)
    assert 'model = "gpt-5", tier = "scale"' in tier
    assert 'provider = "openai", model = "mystery" to prices.toml' in price
    assert 'request_model = "prod-x"' in alias
