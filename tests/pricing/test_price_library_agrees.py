"""The derived bands against the price library's own call, at random points."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from genai_prices import Usage as LibraryUsage
from genai_prices.data_snapshot import get_snapshot

from taximeter.pricing import Catalog
from taximeter.pricing.catalog import shipped_snapshot
from taximeter.usage import Usage
from taximeter_collector.prices.derive import derive_snapshot

SAMPLES = 3_000


def test_the_shipped_snapshot_is_the_installed_librarys() -> None:
    """After an upgrade of genai-prices: python -m taximeter_collector.prices.snapshot."""
    assert shipped_snapshot() == derive_snapshot()


def test_random_calls_cost_what_the_library_says() -> None:
    catalog, chance = Catalog(shipped_snapshot(), []), random.Random(20261124)
    models = [
        (provider, model)
        for provider in get_snapshot().providers
        for model in provider.models
        if provider.id in {"anthropic", "openai", "google", "x-ai", "deepseek", "mistral", "aws"}
    ]
    compared = 0
    for _ in range(SAMPLES):
        provider, model = chance.choice(models)
        at = datetime(2025, 6, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(790_000))
        leaves = [chance.choice([0, 10, 4_000, 150_000, 250_000]) for _ in range(3)]
        usage = Usage(uncached_input=leaves[0], cache_read=leaves[1], output=leaves[2])
        entry = catalog.resolve(provider.id, model.id)
        cost = catalog.price(usage, entry, at) if entry else None
        if cost is None or entry is None or entry.model != model.id:
            continue
        prices = model.get_prices(at)
        expected = prices.calc_price(
            LibraryUsage(
                input_tokens=leaves[0] + leaves[1],
                cache_read_tokens=leaves[1],
                output_tokens=leaves[2],
            )
        )["total_price"]
        per_request = getattr(prices, "requests_kcount", None)
        if per_request:
            continue  # a fee per request is not a token price
        assert cost.total_pico == pytest.approx(Decimal(expected) * 10**12, abs=leaves[0] + 10**6)
        compared += 1
    assert compared > SAMPLES / 2
