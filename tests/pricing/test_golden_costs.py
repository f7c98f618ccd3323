"""The price oracle: raw usage of many providers → partition and exact cost."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from taximeter.pricing import Catalog, load_catalog
from taximeter.usage import Usage, normalise_usage

GOLDEN: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "golden_costs.json").read_text()
)
LEAVES = {"input": "uncached_input", "cache_read": "cache_read",
          "cache_write_5m": "cache_write_short", "cache_write_1h": "cache_write_long",
          "output": "output", "reasoning": "reasoning", "input_audio": "audio_input",
          "cache_read_audio": "audio_cache_read", "output_audio": "audio_output",
          "input_image": "image_input", "output_image": "image_output",
          "web_search": "web_searches"}  # fmt: skip
REGIONS = {"EU data residency": "residency"}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def usage_of(row: dict[str, Any]) -> Usage:
    searches = row.get("extra_billed_units", {}).get("web_search")
    raw = row["usage"] | ({"web_search_requests": searches} if searches else {})
    return normalise_usage(row["usage_shape"], raw)


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["id"])
def test_the_partition_is_the_oracles(row: dict[str, Any]) -> None:
    usage = usage_of(row)
    for leaf, name in LEAVES.items():
        if leaf == "reasoning" and leaf not in row["normalised"]:
            continue
        assert (getattr(usage, name) or 0) == row["normalised"].get(leaf, 0), name


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["id"])
def test_the_cost_is_exact(catalog: Catalog, row: dict[str, Any]) -> None:
    multiplier = row.get("multiplier")
    region = REGIONS[multiplier["reason"]] if multiplier else None
    entry = catalog.resolve(
        row["provider"], row["model"], tier=row["tier"], batch=row["batch"], region_class=region
    )
    assert entry is not None
    at = datetime.fromisoformat(row["timestamp"])
    cost = catalog.price(usage_of(row), entry, at)
    assert cost is not None
    assert cost.total_pico == Decimal(row["expected_usd"]) * 10**12
    assert catalog.total_pico(usage_of(row), entry, int(at.timestamp())) == cost.total_pico
