"""What our own price file adds to the library: each fact where it holds, and not beside it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from taximeter.pricing import Catalog, load_catalog
from taximeter.usage import Usage

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MILLION = 10**6
INPUT = Usage(uncached_input=MILLION, output=0)
READ = Usage(uncached_input=0, cache_read=MILLION, output=0)
SHORT = Usage(uncached_input=100_000, output=0)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def usd(
    catalog: Catalog, usage: Usage, provider: str, model: str, at: datetime = NOW, **asked: str
) -> float | None:
    entry = catalog.resolve(provider, model, **asked)  # type: ignore[arg-type]
    cost = catalog.price(usage, entry, at) if entry else None
    return cost.total_usd if cost else None


@pytest.mark.parametrize(
    ("model", "dear"),
    [("claude-opus-4-6", True), ("claude-sonnet-4-6", True), ("claude-opus-5-5", True),
     ("claude-haiku-5-5", True), ("claude-fable-5-2", True), ("claude-opus-4-5", False),
     ("claude-haiku-4-5", False), ("claude-3-5-sonnet-20241022", False)],
)  # fmt: skip
def test_us_inference_costs_more_since_opus_4_6(catalog: Catalog, model: str, dear: bool) -> None:
    plain = usd(catalog, SHORT, "anthropic", model)
    in_us = usd(catalog, SHORT, "anthropic", model, region_class="geo:us")
    assert plain and in_us
    assert in_us == pytest.approx(plain * (1.1 if dear else 1))


def test_a_region_is_no_reason_to_pay_more_for_a_search(catalog: Catalog) -> None:
    search = Usage(uncached_input=0, output=0, web_searches=1_000)
    assert usd(catalog, search, "anthropic", "claude-opus-5-5", region_class="geo:us") == 10


@pytest.mark.parametrize(
    ("provider", "model", "dear"),
    [("gcp.vertex_ai", "claude-sonnet-4-5", True), ("gcp.vertex_ai", "gemini-3.8-flash", True),
     ("gcp.vertex_ai", "claude-3-haiku", False), ("gcp.vertex_ai", "gemini-2.5-pro", False)],
)  # fmt: skip
def test_regional_endpoints_of_vertex(
    catalog: Catalog, provider: str, model: str, dear: bool
) -> None:
    plain = usd(catalog, SHORT, provider, model)
    regional = usd(catalog, SHORT, provider, model, region_class="regional")
    assert plain and regional
    assert regional == pytest.approx(plain * (1.1 if dear else 1))


@pytest.mark.parametrize(
    ("model", "expected"), [("gpt-6.1-sol", 1.2), ("gpt-6-astra", 6.0), ("gpt-6-luna", None)]
)
def test_ultrafast_is_sold_for_two_models(
    catalog: Catalog, model: str, expected: float | None
) -> None:
    assert usd(catalog, SHORT, "openai", model, tier="ultrafast") == expected


@pytest.mark.parametrize(
    ("model", "tier", "usage", "expected"),
    [("gemini-2.5-pro", "flex", SHORT, 0.0625), ("gemini-2.5-pro", "flex", READ, 0.25),
     ("gemini-2.5-pro", "flex", INPUT, 1.25), ("gemini-4-argon", "flex", READ, 0.05),
     ("gemini-2.5-pro", "priority", INPUT, 4.5), ("gemini-3.5-flash", "batch", INPUT, 0.75),
     ("gemini-2.5-flash", "flex", Usage(uncached_input=0, audio_input=MILLION, output=0), 0.5)],
)  # fmt: skip
def test_flex_and_priority_of_gemini(
    catalog: Catalog, model: str, tier: str, usage: Usage, expected: float
) -> None:
    assert usd(catalog, usage, "google", model, tier=tier) == expected


@pytest.mark.parametrize("tier", ["flex", "priority", "batch"])
def test_a_tier_ends_its_introductory_price_with_the_standard(catalog: Catalog, tier: str) -> None:
    before = usd(catalog, INPUT, "google", "gemini-3.8-flash", tier=tier)
    after = usd(
        catalog, INPUT, "google", "gemini-3.8-flash", datetime(2027, 1, 1, tzinfo=UTC), tier=tier
    )
    assert before and after
    assert after == 2 * before


@pytest.mark.parametrize(
    ("at", "expected"),
    [("2026-08-10T02:00", 0.435), ("2026-08-16T15:59", 0.435), ("2026-08-16T16:00", 0.66),
     ("2026-08-17T02:00", 1.32), ("2026-08-17T05:00", 0.66), ("2026-11-14T02:00", 0.66),
     ("2026-11-15T08:00", 0.66), ("2026-11-16T02:00", 1.32)],
)  # fmt: skip
def test_deepseeks_clock_and_calendar(catalog: Catalog, at: str, expected: float) -> None:
    when = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert usd(catalog, INPUT, "deepseek", "deepseek-v4-pro", when) == expected


def test_what_a_new_card_leaves_out_is_not_guessed(catalog: Catalog) -> None:
    assert usd(catalog, INPUT, "openai", "gpt-6.2-astra") == 8
    assert usd(catalog, READ, "openai", "gpt-6.2-astra") is None
    long = Usage(uncached_input=0, cache_write_long=5, output=0)
    assert usd(catalog, long, "openai", "gpt-6.1-sol") is None


def test_an_advisor_is_billed_at_its_own_models_price(catalog: Catalog) -> None:
    advice = Usage(uncached_input=1_000, cache_read=0, output=100)
    usage = Usage(uncached_input=10_000, output=500, other_models=(("claude-opus-5-5", advice),))
    entry = catalog.resolve("anthropic", "claude-sonnet-5-5")
    assert entry is not None
    cost = catalog.price(usage, entry, NOW)
    assert cost is not None
    assert cost.input_pico == 10_000 * 2_000_000 + 1_000 * 4_000_000
    assert cost.total_pico == sum(cost.by_field.values())
    lost = Usage(uncached_input=10_000, output=500, other_models=(("claude-fable-99", advice),))
    assert catalog.price(lost, entry, NOW) is None


def test_tiers_before_their_verification_are_assumed_unless_refused(catalog: Catalog) -> None:
    entry = catalog.resolve("openai", "gpt-6.1-sol", batch=True)
    assert entry is not None
    cost = catalog.price(SHORT, entry, datetime(2026, 10, 1, tzinfo=UTC))
    assert cost is not None
    assert cost.quality == "assumed_tier"
