"""Rows that users write for prices of their own: each does what its words say, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from taximeter.pricing import Catalog, PriceFileError, load_catalog
from taximeter.usage import Usage

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
FRIDAY = NOW
SATURDAY = datetime(2026, 11, 21, 12, tzinfo=UTC)
ONE_INPUT = Usage(uncached_input=1_000, cache_read=0, output=0)


def catalog(tmp_path: Path, text: str) -> Catalog:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    return load_catalog(file)


def usd_per_million(
    prices: Catalog,
    provider: str | None,
    model: str,
    at: datetime = NOW,
    usage: Usage = ONE_INPUT,
    **asked: object,
) -> float | None:
    """The price that a thousand prompt tokens (of whatever kind) come to, a million of them."""
    entry = prices.resolve(provider, model, **asked)  # type: ignore[arg-type]
    cost = prices.price(usage, entry, at) if entry else None
    return cost.total_pico / 1e9 if cost else None


def test_a_pattern_speaks_of_every_model_it_matches(tmp_path: Path) -> None:
    prices = catalog(
        tmp_path, "[[price]]\nprovider='acme*'\nmodel='big-*'\ninput='7'\noutput='9'\n"
    )
    assert usd_per_million(prices, "acme-eu", "big-3") == 7
    assert usd_per_million(prices, "acme-eu", "small-3") is None
    assert usd_per_million(prices, "other", "big-3") is None


def test_several_dated_rows_follow_each_other(tmp_path: Path) -> None:
    prices = catalog(
        tmp_path,
        "[[price]]\nmodel='mine'\nfrom=2026-10-01\ninput='4'\noutput='8'\n"
        "[[price]]\nmodel='mine'\nfrom=2026-11-01\ninput='3'\noutput='6'\n"
        "[[price]]\nmodel='mine'\nfrom=2026-11-15T06:00:00Z\nto=2026-12-01\ninput='2'\noutput='4'\n",
    )
    expected = {
        datetime(2026, 9, 30, 23, 59, tzinfo=UTC): None,
        datetime(2026, 10, 1, tzinfo=UTC): 4,
        datetime(2026, 11, 15, 5, 59, tzinfo=UTC): 3,
        datetime(2026, 11, 15, 6, tzinfo=UTC): 2,
        datetime(2026, 12, 1, tzinfo=UTC): 3,
    }
    for at, price in expected.items():
        assert usd_per_million(prices, "acme", "mine", at) == price


def test_a_later_entry_wins_field_by_field(tmp_path: Path) -> None:
    prices = catalog(
        tmp_path,
        "[[price]]\nprovider='openai'\nmodel='gpt-5'\ninput='1'\ncache_read='0.5'\n"
        "[[price]]\nprovider='openai'\nmodel='gpt-5*'\ninput='2'\n",
    )
    read = Usage(uncached_input=0, cache_read=1_000, output=0)
    answer = Usage(uncached_input=0, output=1_000)
    assert usd_per_million(prices, "openai", "gpt-5") == 2
    assert usd_per_million(prices, "openai", "gpt-5", usage=read) == 0.5
    assert usd_per_million(prices, "openai", "gpt-5", usage=answer) == 10  # the list's


def test_prompt_lengths_of_a_card_of_ones_own(tmp_path: Path) -> None:
    prices = catalog(
        tmp_path,
        "[[price]]\nmodel='mine'\ninput='1'\noutput='2'\n"
        "[[price]]\nmodel='mine'\ngt_prompt=1_000\nle_prompt=2_000\ninput='3'\noutput='4'\n"
        "[[price]]\nmodel='mine'\ngt_prompt=2_000\ninput='5'\noutput='6'\n",
    )
    for length, price in {1_000: 1, 1_001: 3, 2_000: 3, 2_001: 5}.items():
        usage = Usage(uncached_input=length, output=0)
        assert usd_per_million(prices, "acme", "mine", usage=usage) == price * length / 1_000


@pytest.mark.parametrize(
    ("clock", "inside", "outside"),
    [("'01:00-04:00'", ["01:00", "03:59"], ["00:59", "04:00"]),
     ("'22:00-06:00'", ["22:00", "23:59", "00:00", "05:59"], ["06:00", "21:59"]),
     ("['01:00-04:00', '06:00-10:00']", ["01:00", "06:00"], ["05:00", "10:00"]),
     ("'18:00-24:00'", ["23:59"], ["00:00"])],
)  # fmt: skip
def test_a_time_of_day(tmp_path: Path, clock: str, inside: list[str], outside: list[str]) -> None:
    prices = catalog(
        tmp_path,
        f"[[price]]\nprovider='anthropic'\nmodel='claude-opus-5-5'\ntime_of_day={clock}\ndiscount=0.5\n",
    )
    for times, price in ((inside, 2), (outside, 4)):
        for time in times:
            at = datetime.fromisoformat(f"2026-11-20T{time}+00:00")
            assert usd_per_million(prices, "anthropic", "claude-opus-5-5", at) == price, time


def test_a_weekend_price(tmp_path: Path) -> None:
    prices = catalog(
        tmp_path,
        "[[price]]\nmodel='mine'\ninput='2'\noutput='2'\n"
        "[[price]]\nmodel='mine'\nweekdays=[6, 7]\ninput='1'\noutput='1'\n",
    )
    assert usd_per_million(prices, "acme", "mine", FRIDAY) == 2
    assert usd_per_million(prices, "acme", "mine", SATURDAY) == 1


def test_each_tier_has_a_card_of_its_own(tmp_path: Path) -> None:
    prices = catalog(
        tmp_path,
        "".join(
            f"[[price]]\nmodel='mine'\ntier='{tier}'\ninput='{usd}'\noutput='9'\n"
            for tier, usd in {"standard": 4, "batch": 2, "flex": 1, "scale": 0}.items()
        ),
    )
    assert usd_per_million(prices, "acme", "mine") == 4
    assert usd_per_million(prices, "acme", "mine", tier="flex") == 1
    assert usd_per_million(prices, "acme", "mine", batch=True) == 2
    assert usd_per_million(prices, "acme", "mine", tier="scale") == 0
    assert usd_per_million(prices, "acme", "mine", tier="priority") is None


def test_a_discount_is_on_the_card_beside_it_and_on_every_tier(tmp_path: Path) -> None:
    text = "[[price]]\nprovider='openai'\nmodel='mine'\ninput='4'\noutput='8'\ndiscount=0.25\n"
    assert usd_per_million(catalog(tmp_path, text), "openai", "mine") == 3
    later = (
        "[[price]]\nmodel='mine'\ninput='4'\noutput='8'\n"
        "[[price]]\nmodel='mine'\ntier='flex'\ninput='2'\noutput='4'\n"
        "[[price]]\nmodel='mine'\ndiscount=0.5\n"
    )
    prices = catalog(tmp_path, later)
    assert usd_per_million(prices, "acme", "mine") == 2
    assert usd_per_million(prices, "acme", "mine", tier="flex") == 1


def test_a_server_of_ones_own_owes_no_list_anything(tmp_path: Path) -> None:
    """Not the cached price of the model's maker, not a tier's, whatever the emitter calls itself."""
    prices = catalog(
        tmp_path, "[[price]]\nmatch.server_address='llm.internal:8000'\ninput='0'\noutput='0'\n"
    )
    usage = Usage(uncached_input=500, cache_read=400, cache_write_short=100, output=70)
    here = "llm.internal"
    for provider, model in [("openai", "gpt-5"), ("vllm", "llama-3"), (None, "llama-3"),
                            ("openai", "gpt-oss-120b"), ("langchain", "mine")]:  # fmt: skip
        assert usd_per_million(prices, provider, model, usage=usage, server_address=here) == 0
        assert (
            usd_per_million(prices, provider, model, usage=usage, tier="flex", server_address=here)
            == 0
        )
        assert (
            usd_per_million(prices, provider, model, batch=True, usage=usage, server_address=here)
            == 0
        )
    assert usd_per_million(prices, "openai", "gpt-5") == 1.25


def test_servers_by_pattern_and_by_list(tmp_path: Path) -> None:
    prices = catalog(
        tmp_path,
        "[[price]]\nmatch.server_address=['*.gpu.acme', '10.0.0.*']\ninput='1'\noutput='1'\n",
    )
    for address in ("a.gpu.acme", "b.gpu.acme:8080", "10.0.0.7"):
        assert usd_per_million(prices, "vllm", "llama", server_address=address) == 1
    assert usd_per_million(prices, "vllm", "llama", server_address="gpu.acme.evil") is None


def test_a_discount_at_an_address_stands_on_the_list(tmp_path: Path) -> None:
    prices = catalog(
        tmp_path, "[[price]]\nmatch.server_address='acme.openai.azure.com'\ndiscount=0.2\n"
    )
    there = "acme.openai.azure.com"
    assert usd_per_million(prices, "azure.ai.openai", "gpt-5", server_address=there) == 1
    assert usd_per_million(prices, "azure.ai.openai", "gpt-5") == 1.25


def test_deployments_and_opaque_profiles_by_alias(tmp_path: Path) -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
    prices = catalog(
        tmp_path,
        "[[alias]]\nprovider='azure'\nrequest_model='prod-*'\nmodel='gpt-5'\n"
        "[[alias]]\nrequest_model='*application-inference-profile/abc123'\n"
        "model='us.anthropic.claude-opus-5-5'\n"
        "[[alias]]\nprovider='azure'\nrequest_model='prod-old'\nmodel='gpt-4.1'\n"
        "match.server_address='legacy.openai.azure.com'\n",
    )
    assert usd_per_million(prices, "azure.ai.openai", "Prod-GPT") == 1.25
    assert usd_per_million(prices, "openai", "prod-x") is None
    assert usd_per_million(prices, "aws.bedrock", arn) == pytest.approx(4.4)
    old = usd_per_million(
        prices, "azure.ai.openai", "prod-old", server_address="legacy.openai.azure.com"
    )
    assert old == 2


def test_a_card_for_a_dated_name_leaves_the_model_alone(tmp_path: Path) -> None:
    prices = catalog(
        tmp_path,
        "[[price]]\nprovider='google'\nmodel='gemini-2.5-pro-mine'\ninput='9'\noutput='9'\n"
        "[[price]]\nprovider='openai'\nmodel='gpt-5-2025-08-07'\ninput='8'\noutput='8'\n",
    )
    assert usd_per_million(prices, "google", "gemini-2.5-pro-mine") == 9
    assert usd_per_million(prices, "google", "gemini-2.5-pro") == 1.25
    assert usd_per_million(prices, "openai", "gpt-5-2025-08-07") == 8
    assert usd_per_million(prices, "openai", "gpt-5") == 1.25


def test_a_card_for_a_model_speaks_of_its_dated_names(tmp_path: Path) -> None:
    prices = catalog(
        tmp_path, "[[price]]\nprovider='openai'\nmodel='mine'\ninput='3'\noutput='4'\n"
    )
    for name in ("mine", "mine-2026-11-17", "openai/mine", "Mine"):
        assert usd_per_million(prices, "openai", name) == 3


def test_a_makers_model_is_meant_behind_a_clouds_prefix(tmp_path: Path) -> None:
    prices = catalog(tmp_path, "[[price]]\nprovider='aws'\nmodel='claude-*'\ndiscount=0.5\n")
    half = usd_per_million(prices, "aws.bedrock", "global.anthropic.claude-opus-5-5")
    assert half == 2


def test_kinds_of_unit_by_either_name(tmp_path: Path) -> None:
    prices = catalog(
        tmp_path,
        "[[price]]\nmodel='mine'\ninput='1'\noutput='2'\ncache_read_audio='0.3'\n"
        "input_audio='4'\noutput_audio='8'\ninput_image='5'\noutput_image='6'\nweb_search='10'\n",
    )
    usage = Usage(uncached_input=0, output=0, audio_input=1_000, audio_cache_read=1_000,
                  audio_output=1_000, image_input=1_000, image_output=1_000, web_searches=1)  # fmt: skip
    assert usd_per_million(prices, "acme", "mine", usage=usage) == 0.3 + 4 + 8 + 5 + 6 + 10
    with pytest.raises(PriceFileError, match=":4: audio_input is given twice"):
        catalog(tmp_path, "[[price]]\nmodel='x'\ninput_audio='1'\naudio_input='2'\n")


def test_tiers_before_verification_can_be_refused(tmp_path: Path) -> None:
    early = datetime(2026, 9, 1, tzinfo=UTC)
    assumed = load_catalog()
    strict = catalog(tmp_path, "[history]\nassume_tiers_before_verification = false\n")
    assert usd_per_million(assumed, "openai", "gpt-6.1-sol", early, batch=True) is not None
    assert usd_per_million(strict, "openai", "gpt-6.1-sol", early, batch=True) is None


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[[price]]\nmodel='x'\ninput='1'\ntime_of_day='1-4'", 4, 'time_of_day is UTC such as "01:'),
        ("[[price]]\nmodel='x'\ninput='1'\ntime_of_day='25:00-26:00'", 4, "time_of_day is UTC"),
        ("[[price]]\nmodel='x'\ninput='1'\ntime_of_day=['01:00-04:00','03:00-05:00']", 4, "overlap"),
        ("[[price]]\nmodel='x'\ninput='1'\ngt_prompt=5\nle_prompt=5", 5, "le_prompt must be above"),
        ("[[price]]\nmodel='x'\ninput='1'\nmatch.server_address=[]", 4, "must be text or a list"),
        ("[[batch]]\nmatch.servce_name='x'\nbatch=true", 2, "did you mean 'match.service_name'"),
        ("[[batch]]\nmatch.service_name='x'\nbatch='yes'", 3, "batch is true or false"),
        ("[[reported]]\nuse='maybe'", 2, "unknown use 'maybe'; use always, fallback, never"),
        ("allow_reported_fallback='yes'", 1, "allow_reported_fallback is true or false"),
        ("[history]\nassume_tiers = true", 2, 'use assume_tiers_before_verification'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    with pytest.raises(PriceFileError) as raised:
        catalog(tmp_path, text + "\n")
    assert str(raised.value).startswith(f"{tmp_path / 'prices.toml'}:{line}: ")
    assert said in str(raised.value)
