"""Compare our price list with litellm's price file, as a second opinion; write docs/price_sources.md.

    pip download --no-deps --dest /tmp litellm
    python bench/price_sources.py /tmp/litellm-*.whl --date 2026-11-25 --write docs/price_sources.md

litellm is read from its wheel, never installed. Its file has no dates, so only one day is compared.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from taximeter.pricing import FIELDS, Band, Catalog, load_catalog

FILE: Final = "litellm/model_prices_and_context_window_backup.json"
PROVIDERS: Final = {
    "anthropic": "anthropic", "openai": "openai", "gemini": "google", "xai": "x-ai",
    "deepseek": "deepseek", "mistral": "mistral", "bedrock_converse": "aws", "groq": "groq",
    "vertex_ai-anthropic_models": "google",
}  # fmt: skip
"""litellm's name → ours."""
KINDS: Final = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write_short": "cache_creation_input_token_cost",
    "cache_write_long": "cache_creation_input_token_cost_above_1hr",
}
TIERS: Final = {"standard": "", "batch": "_batches", "flex": "_flex", "priority": "_priority"}
Row = tuple[str, str, str, str, Decimal | None, Decimal]
"""provider, model, tier, kind, ours, litellm's: USD per million tokens."""


REASONS: Final = """
## Why, as far as it is known

- aws: a plain or regional id of Claude 4.5 and later costs a tenth more than `global.`; litellm has the global
  price at plain ids. Ours is the price list interface of AWS, by way of genai-prices.
- deepseek-v4: litellm states the peak price and keeps the hours apart; 12:00 UTC is off-peak.
- mistral-large-4: litellm's price is of before 2026-10-20.
- A cached read without a price of its own is billed as input in ours.
- The rest is open: neither list's page was read for it.
"""


@dataclass(frozen=True, slots=True)
class Found:
    """The comparison of one litellm entry at one tier."""

    provider: str
    model: str
    tier: str
    is_listed: bool
    differences: list[Row]


def main() -> None:
    """Read the wheel, compare, print or write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--date", type=datetime.fromisoformat, default=datetime.now(UTC))
    parser.add_argument("--write", type=Path, metavar="FILE")
    options = parser.parse_args()
    at = options.date.replace(tzinfo=UTC, hour=12)
    with zipfile.ZipFile(options.wheel) as wheel:
        listed: dict[str, dict[str, Any]] = json.loads(wheel.read(FILE))
    catalog = load_catalog()
    found = [one for entry in entries(listed) for one in compare(catalog, *entry, at)]
    version = options.wheel.name.split("-")[1]
    text = report(found, f"litellm {version}", catalog.version, at)
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    else:
        print(text)


def entries(
    listed: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield (our provider, model, entry) of the chat models of the providers compared, each once."""
    seen = set()
    for key, entry in listed.items():
        provider = PROVIDERS.get(str(entry.get("litellm_provider")))
        if provider is None or entry.get("mode") not in ("chat", "responses"):
            continue
        model = key.rsplit("/", 1)[-1] if provider != "groq" else key.partition("/")[2]
        if (
            key.startswith("ft:")
            or (provider, model) in seen
            or "input_cost_per_token" not in entry
        ):
            continue
        seen.add((provider, model))
        yield provider, model, entry


def compare(
    catalog: Catalog, provider: str, model: str, entry: Mapping[str, Any], at: datetime
) -> Iterator[Found]:
    """Yield one comparison a tier that litellm prices."""
    for tier, suffix in TIERS.items():
        stated = {kind: entry.get(key + suffix) for kind, key in KINDS.items()}
        if stated["input"] is None:
            continue
        band = short_prompt_band(catalog, provider, model, tier, at)
        prices = dict(zip(FIELDS, band.prices, strict=True)) if band else {}
        rows: list[Row] = []
        for kind, usd in stated.items():
            if usd is None:
                continue
            theirs = (Decimal(str(usd)) * 10**6).normalize()
            pico = prices.get(kind)
            ours = None if pico is None else (Decimal(pico) / 10**6).normalize()
            if ours != theirs:
                rows.append((provider, model, tier, kind, ours, theirs))
        yield Found(provider, model, tier, band is not None, rows if band else [])


def short_prompt_band(
    catalog: Catalog, provider: str, model: str, tier: str, at: datetime
) -> Band | None:
    """Return our prices for a prompt of one token; None where we have none, or only for a namesake."""
    entry = catalog.resolve(provider, model, tier=tier)
    if entry is None or entry.match_quality == "prefix":
        return None
    return next((band for band in catalog.bands(entry) if band.holds(at, 1)), None)


def report(found: list[Found], theirs: str, ours: str, at: datetime) -> str:
    """Return the report in Markdown."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for one in found:
        count = counts[one.provider]
        count["compared" if one.is_listed else "missing"] += 1
        count["equal"] += one.is_listed and not one.differences
    lines = [
        "# Price sources compared",
        "",
        f"Our list ({ours} with our own facts on top) against {theirs}'s price file, a second opinion that is never",
        f"installed. Prices of {at:%Y-%m-%d}, 12:00 UTC, shortest prompts; USD per million tokens. One line a model and",
        "tier that litellm prices. Made by `python bench/price_sources.py`.",
        "",
        "| Provider | Compared | Equal | Different | Not in our list |",
        "|---|---|---|---|---|",
    ]
    for provider, count in sorted(counts.items()):
        differs = count["compared"] - count["equal"]
        lines.append(
            f"| {provider} | {count['compared']} | {count['equal']} | {differs} | {count['missing']} |"
        )
    lines += ["", "## Where they differ", "", "| Provider | Model | Tier | Kind | Ours | litellm |"]
    lines.append("|---|---|---|---|---|---|")
    for provider, model, tier, kind, own, other in (
        row for one in found for row in one.differences
    ):
        said = "none" if own is None else f"{own:f}"
        lines.append(f"| {provider} | `{model}` | {tier} | {kind} | {said} | {other:f} |")
    return "\n".join(lines) + "\n" + REASONS


if __name__ == "__main__":
    main()
