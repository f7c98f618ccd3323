"""`taximeter prices`: what a model costs, what has no price, and history priced again."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final

from taximeter.cli_query import as_table
from taximeter.cli_reprice import add_reprice
from taximeter.ports import collector_url
from taximeter.pricing import FIELDS, Band, Catalog, PriceFileError, Resolution, load_catalog
from taximeter.pricing.bands import DAY_S, ENDLESS
from taximeter.read_query import QueryFailed, read_query
from taximeter.settings import SettingsError, load_settings

PICO_PER_USD: Final = 10**12
_PER_MILLION: Final = 10**6
_UNITS: Final = {"web_search": (1000, "1,000 searches")}
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_COVERAGE: Final = "select * from unpriced_models order by calls desc"


def add_prices(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the commands."""
    prices = commands.add_parser(
        "prices", help="unit prices, models without one, history priced again"
    )
    kinds = prices.add_subparsers(title="commands", metavar="COMMAND", required=True)
    show = kinds.add_parser("show", help="a model's unit prices with source and date")
    show.add_argument("model", metavar="MODEL", help="as the provider spells it")
    show.add_argument("--provider", metavar="P", help="as gen_ai.provider.name says it")
    show.add_argument("--tier", default="standard", metavar="T", help="flex, priority, batch …")
    show.add_argument("--region", metavar="R", help="region class, such as geo:us")
    show.set_defaults(run=run_show)
    coverage = kinds.add_parser("coverage", help="models that were called and have no price")
    coverage.set_defaults(run=run_coverage)
    reprice = add_reprice(kinds)
    for parser in (show, coverage, reprice):
        parser.add_argument("--config", metavar="FILE", help="taximeter.toml")
        parser.add_argument("--data-dir", metavar="DIR", help="where the data lies")
        parser.add_argument("--json", action="store_true", help="for programs")


def run_show(options: argparse.Namespace) -> int:
    """Print a model's prices; return 1 if no price list knows it."""
    settings = load_settings(options.config, data_dir=options.data_dir)
    try:
        catalog = load_catalog(settings.prices.file)
    except (PriceFileError, OSError) as error:
        raise SettingsError(str(error)) from None
    found = catalog.resolve(
        options.provider, options.model, tier=options.tier, region_class=options.region
    )
    if found is None:
        print(f"taximeter prices: {_unknown(catalog, options.model)}", file=sys.stderr)
        return 1
    rows = [row for band in catalog.bands(found) for row in _rows(band)]
    if options.json:
        head = {"provider": found.provider, "model": found.model, "context": found.context}
        print(json.dumps({**head, "match": found.match_quality, "prices": rows}, indent=2))
        return 0
    print(f"{found.provider} {found.model}, {found.context} ({found.match_quality} match)")
    names = ("kind", "usd", "per", "when", "source")
    print(as_table(names, [[row[name] for name in names] for row in rows]), end="")
    return 0


def run_coverage(options: argparse.Namespace) -> int:
    """Print what was called and has no price, with what to write into prices.toml."""
    settings = load_settings(options.config, data_dir=options.data_dir)
    token = settings.collector.query_token
    try:
        answer = read_query(
            collector_url(settings), _COVERAGE, token=token.reveal() if token else None
        )
    except QueryFailed as error:
        print(f"taximeter prices: {error}", file=sys.stderr)
        return error.exit_code
    names = [column["name"] for column in answer["columns"]]
    if options.json:
        print(json.dumps([dict(zip(names, row, strict=True)) for row in answer["rows"]], indent=2))
    elif answer["rows"]:
        print(as_table(names, answer["rows"]), end="")
    else:
        print("Every model that was called has a price.")
    return 0


def _rows(band: Band) -> list[dict[str, Any]]:
    """Return one row a priced kind of unit: kind, usd, per, when, source, pico_usd_per_unit."""
    rows = []
    for kind, pico in zip(FIELDS, band.prices, strict=True):
        if pico is None:
            continue
        units, per = _UNITS.get(kind, (_PER_MILLION, "1M tokens"))
        rows.append(
            {
                "kind": kind,
                "usd": pico * units / PICO_PER_USD,
                "per": per,
                "when": _when(band),
                "source": band.source,
                "pico_usd_per_unit": pico,
            }
        )
    return rows


def _when(band: Band) -> str:
    """Return in words the box in which a band holds.

    >>> _when(Band(prices=(), gt_prompt=200_000, dow_mask=0b0011111))
    'always, prompt over 200,000, Mon Tue Wed Thu Fri'
    """
    parts = [_dates(band.valid_from, band.valid_to)]
    if band.gt_prompt > 0:
        parts.append(f"prompt over {band.gt_prompt:,}")
    if band.le_prompt < ENDLESS:
        parts.append(f"prompt to {band.le_prompt:,}")
    if (band.tod_from, band.tod_to) != (0, DAY_S):
        parts.append(f"{_clock(band.tod_from)}-{_clock(band.tod_to)} UTC")
    if band.dow_mask != 127:
        parts.append(" ".join(d for i, d in enumerate(_WEEKDAYS) if band.dow_mask >> i & 1))
    return ", ".join(parts)


def _dates(start: int, end: int) -> str:
    since = "" if start <= -ENDLESS else f"from {_date(start)}"
    until = "" if end >= ENDLESS else f"until {_date(end)}"
    return " ".join(filter(None, (since, until))) or "always"


def _date(unix_s: int) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d}"


def _clock(second: int) -> str:
    return f"{second // 3600:02}:{second // 60 % 60:02}"


def _unknown(catalog: Catalog, model: str) -> str:
    known: Sequence[Resolution] = catalog.standard_entries()
    close = get_close_matches(model, {entry.model for entry in known}, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "add a [[price]] to prices.toml."
    return f"No price list knows {model}: {hint}"
