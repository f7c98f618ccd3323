"""The derived bands against the price library's own call, at random points."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from genai_prices import Usage as LibraryUsage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, StartDateConstraint, TieredPrices

from taximeter.pricing import Catalog
from taximeter.pricing.catalog import shipped_facts, shipped_snapshot
from taximeter.pricing.overrides import PriceFile
from taximeter.pricing.resolution import Resolution
from taximeter.usage import Usage
from taximeter_collector.prices.derive import derive_snapshot

SAMPLES = 20_000
# Around every prompt-length tier that a provider has.
LENGTHS = [0, 10, 4_000, 99_999, 100_000, 100_001, 128_000, 199_999, 200_000, 200_001, 272_001]
END = datetime(2026, 12, 15, tzinfo=UTC)


def test_the_shipped_snapshot_is_the_installed_librarys() -> None:
    """After an upgrade of genai-prices: python -m taximeter_collector.prices.snapshot."""
    assert shipped_snapshot() == derive_snapshot()


def contexts_of(model: ModelInfo) -> list[tuple[str, dict[str, str]]]:
    variants = [dict(v.when) for v in model.price_variants or () if len(v.when) == 1]
    named = [(next(iter(when.values())), when) for when in variants]
    return [("standard", {}), *((name, when) for name, when in named if name != "default")]


def test_random_calls_cost_to_the_pico_what_the_library_says() -> None:
    """Back-fill off: before a tier was verified the library bills standard, silently."""
    catalog = Catalog(shipped_snapshot(), [PriceFile(assume_tiers=False)])
    chance, compared, tiered, dated = random.Random(20261124), 0, 0, 0
    models = [
        (provider, model) for provider in get_snapshot().providers for model in provider.models
    ]
    with_tiers = [(provider, model) for provider, model in models if model.price_variants]
    with_dates = [(provider, model) for provider, model in models if isinstance(model.prices, list)]
    while compared < SAMPLES:
        provider, model = chance.choice(chance.choice([models, with_tiers, with_dates]))
        name, context = chance.choice(contexts_of(model))
        days = 548 if name == "standard" else 45
        at = END - timedelta(minutes=chance.randrange(days * 1440))
        plain, read, written, answer = (chance.choice(LENGTHS) for _ in range(4))
        usage = Usage(
            uncached_input=plain, cache_read=read, cache_write_short=written, output=answer
        )
        cost = catalog.price(usage, Resolution(provider.id, model.id, name, "exact"), at)
        prices = model.get_prices(at, context or None)
        assert not isinstance(prices, dict)
        if cost is None:
            assert lacks_a_price(prices, usage) or before_verification(model, context, at)
            continue
        if getattr(prices, "requests_kcount", None):
            continue  # a fee per request is not a token price
        asked = LibraryUsage(
            input_tokens=plain + read + written,
            cache_read_tokens=read,
            cache_write_tokens=written,
            output_tokens=answer,
        )
        pico = Decimal(prices.calc_price(asked)["total_price"]) * 10**12
        # A few prices of resellers are float artefacts with parts below a pico-USD per token.
        tolerance = 0 if is_whole(prices) else plain + read + written + answer
        assert abs(cost.total_pico - pico) <= tolerance, (provider.id, model.id, name, at, usage)
        compared += 1
        tiered += name != "standard"
        dated += isinstance(model.prices, list)
    assert tiered > SAMPLES / 10
    assert dated > SAMPLES / 10


def lacks_a_price(prices: ModelPrice, usage: Usage) -> bool:
    """Whether a used unit has none; the library counts it as nothing, we do not know its cost."""
    return (bool(usage.prompt_tokens) and prices.input_mtok is None) or (
        bool(usage.output) and prices.output_mtok is None
    )


def before_verification(model: ModelInfo, context: dict[str, str], at: datetime) -> bool:
    starts = [
        variant.constraint.start_date
        for variant in model.price_variants or ()
        if variant.when == context and isinstance(variant.constraint, StartDateConstraint)
    ]
    return bool(starts) and at.date() < min(starts)


def is_whole(prices: ModelPrice) -> bool:
    """Whether every price is a whole number of pico-USD per token."""
    found: list[Decimal] = []
    for value in vars(prices).values():
        tiers = (
            [value.base, *(t.price for t in value.tiers)]
            if isinstance(value, TieredPrices)
            else [value]
        )
        found += [tier for tier in tiers if isinstance(tier, Decimal)]
    return all((price * 10**6) % 1 == 0 for price in found)


def test_our_facts_about_tiers_stand_only_where_the_library_has_none() -> None:
    """A tier that a new library prices itself must leave our file: a factor would apply twice."""
    snapshot = shipped_snapshot()
    for rule in shipped_facts().multipliers:
        if rule.tier is None:
            continue
        for key in snapshot["bands"]:
            provider, model, context = key.split("|", 2)
            if context == rule.tier:
                assert not rule.fits(provider, (model,), None), rule


@pytest.mark.parametrize("rule", [*shipped_facts().multipliers, *shipped_facts().cards])
def test_every_fact_speaks_of_a_model_and_names_its_source(rule: object) -> None:
    provider, model, source = (getattr(rule, name) for name in ("provider", "model", "source"))
    assert provider != "*"
    assert model != "*"
    assert len(source.split()) > 1
