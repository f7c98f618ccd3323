"""The user's price file: what it changes, and how it fails."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from taximeter.pricing import PriceFileError, load_catalog
from taximeter.usage import Usage

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
USAGE = Usage(uncached_input=1_000_000, output=0)
DOCS = Path(__file__).parents[2] / "docs" / "prices.md"


def total(tmp_path: Path, text: str, provider: str, model: str, **asked: object) -> int | None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    catalog = load_catalog(file)
    entry = catalog.resolve(provider, model, **asked)  # type: ignore[arg-type]
    cost = catalog.price(USAGE, entry, NOW) if entry else None
    return cost.total_pico if cost else None


def test_the_documented_example_loads_and_does_what_it_says(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    usd = 10**12
    assert total(tmp_path, text, "anthropic", "claude-opus-5-5") == 4 * usd * 85 // 100
    assert total(tmp_path, text, "openai", "my-model-1") == 2 * usd
    assert total(tmp_path, text, "vllm", "llama", server_address="llm.internal:8000") == 0
    assert total(tmp_path, text, "azure.ai.openai", "prod-gpt5") == 125 * usd // 100
    us = total(tmp_path, text, "anthropic", "claude-opus-5-5", region_class="geo:us")
    assert us is not None and us > 4 * usd * 85 // 100


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[price]]\nmodle = 'x'\ninput = '1'", "unknown key 'modle'; did you mean 'model'"),
        ("[[price]]\nmodel = 'x'", "give a price"),
        ("[[price]]\nmodel = 'x'\ninput = 'cheap'", "input must be a number"),
        ("[[price]]\nmodel = 'x'\ninput = '-1'", "input must be at least 0"),
        ("[[price]]\nmodel = 'x'\ndiscount = 15", "discount must be from 0 to below 1"),
        ("[[price]]\nmodel = 'x'\ninput = '1'\nweekdays = [8]", "weekdays are numbers from 1"),
        ("[[price]]\nmodel = 'x'\ninput = '1'\nfrom = 'May'", "from and to are dates"),
        ("[[prices]]\nmodel = 'x'", "unknown key 'prices'; did you mean 'price'"),
        ("[[multiplier]]\nmodel = 'x'", "factor is missing"),
        ("[[price]\n", "not TOML"),
    ],
)
def test_a_wrong_file_says_where_and_what_is_allowed(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(PriceFileError, match=re.escape(said)) as raised:
        load_catalog(file)
    assert str(file) in str(raised.value)


@pytest.mark.parametrize(
    ("provider", "model", "listed"),
    [
        ("anthropic", "claude-opus-5-5[1m]", ("anthropic", "claude-opus-5-5")),
        (None, "anthropic/claude-opus-5-5", ("anthropic", "claude-opus-5-5")),
        ("openai", "openai/gpt-5", ("openai", "gpt-5")),
        (None, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", ("aws", None)),
        ("gcp.vertex_ai", "projects/p/locations/l/publishers/google/models/gemini-2.5-pro",
         ("google", "gemini-2.5-pro")),
        ("strands-agents", "gpt-5-2025-08-07", ("openai", "gpt-5")),
        ("anthropic.messages", "claude-sonnet-4-5-20250929", ("anthropic", None)),
        ("azure.ai.openai", "gpt-5-2025-08-07", ("azure", None)),
    ],
)  # fmt: skip
def test_names_are_found_however_an_emitter_writes_them(
    provider: str | None, model: str, listed: tuple[str, str | None]
) -> None:
    entry = load_catalog().resolve(provider, model)
    assert entry is not None
    assert entry.provider.partition(">")[0] == listed[0]
    assert listed[1] is None or entry.model == listed[1]


@pytest.mark.parametrize(
    ("provider", "model"),
    [("anthropic", "claude-fable-99"), ("ollama", "gpt-oss-120b"), ("vllm", "llama-3"),
     ("openai", "no-such-model"), (None, "prod-deployment-7"), ("azure.ai.openai", "my-gpt5")],
)  # fmt: skip
def test_what_no_list_knows_has_no_price(provider: str | None, model: str) -> None:
    assert load_catalog().resolve(provider, model) is None


def test_a_tier_without_a_card_is_not_billed_as_standard() -> None:
    assert load_catalog().resolve("anthropic", "claude-opus-5-5", tier="ultrafast") is None
