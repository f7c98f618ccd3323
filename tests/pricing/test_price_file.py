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
    text, _ = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
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
        ("[[price]]\nmodel = 'x'\ninput = '1'\nfrom = 'May'", "from must be a date"),
        ("[[prices]]\nmodel = 'x'", "unknown key 'prices'; did you mean 'price'"),
        ("[[multiplier]]\nmodel = 'x'", "factor is missing"),
        ("[[price]\n", "not TOML"),
        ("price = 3", "price must be written as [[price]]"),
        ("history = 3", "history must be written as [history]"),
        ("[[price]]\ninput = '0'", "a price needs a provider, a model or match.server_address"),
        ("[[price]]\nmatch.server_adress = 'x'\ninput = '0'", "unknown key 'match.server_adress'"),
        ("[[price]]\nmodel = 'x'\nmatch = 'x'\ninput = '0'", "match must be written as match."),
        ("[[price]]\nmodel = 'x'\ntier = 'flexx'\ninput = '1'", "did you mean 'flex'"),
        ("[[price]]\nmodel = 'x'\nregion_class = 'EU'\ninput = '1'", "region_class is geo:us"),
        ("[[price]]\nmodel = 'x'\nfrom = 2026-02-01\nto = 2026-01-01\ninput = '1'", "to must be"),
        ("[[price]]\nmodel = 'x'\ninput = 'NaN'", "input must be a number"),
        ("[[price]]\nmodel = 'x'\ninput = inf", "input must be a number"),
        ("[[price]]\nmodel = 'x'\ninput = true", "input must be a number"),
        ("[[price]]\nmodel = 'x'\ninput = '0.0000001'", "at most 6 decimals"),
        ("[[price]]\nmodel = 'x'\ninput = '4000000'", "input is in USD per million tokens"),
        ("[[price]]\nmodel = 'x'\ninput = '1'\nweekdays = 6", "weekdays are numbers from 1"),
        ("[[price]]\nmodel = 'x'\ninput = '1'\ngt_prompt = 'x'", "gt_prompt must be a number"),
        ("[[price]]\nmodel = 7\ninput = '1'", "model must be text"),
        ("[[multiplier]]\nmodel = 'x'\nfactor = -1", "factor must be from 0"),
        ("[[alias]]\nmodel = 'x'", "request_model is missing"),
        ("[[batch]]\nbatch = true", "give match.service_name"),
        ("[history]\nassume_tiers_before_verification = 1", "is true or false"),
    ],
)
def test_a_wrong_file_says_where_and_what_is_allowed(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(PriceFileError, match=re.escape(said)) as raised:
        load_catalog(file)
    assert str(file) in str(raised.value)


def test_an_error_names_the_line_of_the_key(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(
        "[[price]]\nmodel = 'x'\ninput = '1'\n\n# mine\n\n[[price]]\nmodel = 'y'\ninput = '?'\n"
    )
    with pytest.raises(PriceFileError) as raised:
        load_catalog(file)
    assert str(raised.value).startswith(f"{file}:9: input must be a number")


def test_a_file_that_is_no_text_is_said(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_bytes(b"\xff\xfe[")
    with pytest.raises(PriceFileError, match="not UTF-8"):
        load_catalog(file)
    with pytest.raises(PriceFileError, match="cannot be read"):
        load_catalog(tmp_path / "absent.toml")


def test_a_discount_is_on_tokens_not_on_searches(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text("[[price]]\nprovider = 'anthropic'\ndiscount = 0.5\n")
    catalog = load_catalog(file)
    entry = catalog.resolve("anthropic", "claude-opus-5-5")
    assert entry is not None
    cost = catalog.price(Usage(uncached_input=1_000, output=0, web_searches=3), entry, NOW)
    assert cost is not None
    assert (cost.input_pico, cost.other_pico) == (1_000 * 2_000_000, 3 * 10**10)
    assert "genai-prices" in cost.price_source
    assert f"{file}:1" in cost.price_source


def test_a_server_is_matched_with_or_without_its_port(tmp_path: Path) -> None:
    text = "[[price]]\nmatch.server_address = 'llm.internal:8000'\ninput = '1'\noutput = '2'\n"
    for address in ("llm.internal", "llm.internal:8000"):
        assert total(tmp_path, text, "openai", "qwen", server_address=address) == 10**12
    for address in ("llm.internal:9", "else.internal"):
        assert total(tmp_path, text, "openai", "qwen", server_address=address) is None


def test_a_providers_name_may_be_written_as_emitters_do(tmp_path: Path) -> None:
    card = "[[price]]\nprovider = 'azure.ai.openai'\nmodel = 'mine'\ninput = '3'\noutput = '4'\n"
    assert total(tmp_path, card, "azure", "mine") == 3 * 10**12
    alias = "[[alias]]\nprovider = 'azure'\nrequest_model = 'prod'\nmodel = 'gpt-5'\n"
    assert total(tmp_path, alias, "azure.ai.openai", "prod") == 125 * 10**10


def test_a_tier_factor_stands_on_the_users_own_card(tmp_path: Path) -> None:
    text = (
        "[[price]]\nprovider = 'openai'\nmodel = 'mine'\ninput = '4'\noutput = '8'\n"
        "[[multiplier]]\nprovider = 'openai'\nmodel = 'mine'\ntier = 'flex'\nfactor = 0.5\n"
    )
    assert total(tmp_path, text, "openai", "mine", tier="flex") == 2 * 10**12


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


@pytest.mark.parametrize(
    ("provider", "model", "quality"),
    [("anthropic", "claude-haiku-4-5-foo", "prefix"), ("google", "gemini-2.5-pro-xyz", "prefix"),
     ("anthropic", "claude-haiku-4-5-20251001", "exact"), ("openai", "gpt-5-2025-08-07", "exact"),
     ("anthropic", "claude-opus-5-5@20260922", "exact"), ("google", "gemini-2.5-pro", "exact"),
     ("aws.bedrock", "us.anthropic.claude-opus-5-5-20260922-v1:0", "exact")],
)  # fmt: skip
def test_a_loose_match_says_so(provider: str, model: str, quality: str) -> None:
    entry = load_catalog().resolve(provider, model)
    assert entry is not None
    assert entry.match_quality == quality


@pytest.mark.parametrize(
    ("provider", "address", "model", "seller"),
    [("openai", "api.groq.com", "llama-3.3-70b-versatile", "groq"),
     ("openai", "api.deepseek.com", "deepseek-v4-pro", "deepseek"),
     ("openai", "openrouter.ai", "anthropic/claude-opus-5.5", "openrouter"),
     (None, "api.x.ai", "grok-4.3", "x-ai"), ("openai", "eu.gateway.acme", "gpt-5", "openai"),
     ("openai", "api.openai.com", "gpt-5", "openai"), ("azure", "api.openai.com", "gpt-5", "azure")],
)  # fmt: skip
def test_the_address_tells_who_bills(
    provider: str | None, address: str, model: str, seller: str
) -> None:
    entry = load_catalog().resolve(provider, model, server_address=address)
    assert entry is not None
    assert entry.provider.partition(">")[0] == seller


@pytest.mark.parametrize("provider", ["openai", None, "ollama", "vllm", "azure.ai.openai"])
def test_published_weights_have_the_price_of_their_host_only(provider: str | None) -> None:
    assert load_catalog().resolve(provider, "gpt-oss-120b", server_address="10.0.0.4") is None
    hosted = load_catalog().resolve("groq", "openai/gpt-oss-120b")
    assert hosted is not None
    assert hosted.provider == "groq"


@pytest.mark.parametrize("tier", ["scale", "provisioned_throughput"])
def test_capacity_paid_for_ahead_has_no_price_a_call(tier: str) -> None:
    assert load_catalog().resolve("openai", "gpt-5.4", tier=tier) is None


def test_a_tier_without_a_card_is_not_billed_as_standard() -> None:
    assert load_catalog().resolve("anthropic", "claude-opus-5-5", tier="ultrafast") is None
