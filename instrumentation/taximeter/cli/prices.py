"""`taximeter prices`: what a model costs, what has no price, and history priced again."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final

from taximeter.cli.query import as_table
from taximeter.cli.reprice import add_reprice
from taximeter.pricing import FIELDS, Band, Catalog, PriceFileError, Resolution, load_catalog
from taximeter.pricing.band_words import when
from taximeter.pricing.bands import ENDLESS
from taximeter.pricing.price_file import TIERS
from taximeter.read_query import QueryFailed, read_query
from taximeter.settings.ports import collector_url, served_certificate
from taximeter.settings.settings import Settings, SettingsError, load_settings

PICO_PER_USD: Final = 10**12
_PER_MILLION: Final = 10**6
_UNITS: Final = {"web_search": (1000, "1,000 searches")}
_COVERAGE: Final = "select * from unpriced_models order by tokens desc nulls last, calls desc"
_SHARE: Final = (
    "select count(*) as calls, count(cost_pico) as priced_calls,"
    " coalesce(sum(total_tokens), 0)::bigint as tokens,"
    " coalesce(sum(total_tokens) filter (cost_pico is not null), 0)::bigint as priced_tokens"
    " from calls where is_billed"
)


def add_prices(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the commands."""
    prices = commands.add_parser(
        "prices", help="unit prices, models without one, history priced again"
    )
    kinds = prices.add_subparsers(title="commands", metavar="COMMAND", required=True)
    show = kinds.add_parser("show", help="a model's unit prices with source and date")
    show.add_argument("model", metavar="MODEL", help="as the provider spells it")
    show.add_argument("--provider", metavar="P", help="as gen_ai.provider.name says it")
    show.add_argument("--tier", metavar="T", help="only flex, priority, batch … (all)")
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
    found = [
        entry
        for tier in ([options.tier] if options.tier else TIERS)
        if (entry := _entry(catalog, options, tier)) is not None
    ]
    if not found:
        print(f"taximeter prices: {_unknown(catalog, options.model)}", file=sys.stderr)
        return 1
    first = found[0]
    rows = [
        {"tier": entry.context, **row}
        for entry in found
        for band in catalog.bands(entry)
        for row in _rows(band)
    ]
    if options.json:
        head = {"provider": first.provider, "model": first.model, "match": first.match_quality}
        print(json.dumps({**head, "version": catalog.version, "prices": rows}, indent=2))
        return 0
    print(f"{first.provider} {first.model} ({first.match_quality} match)")
    names = ("tier", "kind", "usd", "per", "when", "source")
    print(as_table(names, [[row[name] for name in names] for row in rows]), end="")
    return 0


def _entry(catalog: Catalog, options: argparse.Namespace, tier: str) -> Resolution | None:
    return catalog.resolve(options.provider, options.model, tier=tier, region_class=options.region)


def run_coverage(options: argparse.Namespace) -> int:
    """Print what was called and has no price, with what to write into prices.toml."""
    settings = load_settings(options.config, data_dir=options.data_dir)
    try:
        (share,), unpriced = (_ask(settings, sql) for sql in (_SHARE, _COVERAGE))
    except QueryFailed as error:
        print(f"taximeter prices: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps({**share, "unpriced": unpriced}, indent=2))
        return 0
    print(_share_text(share))
    if unpriced:
        print(as_table(list(unpriced[0]), [list(row.values()) for row in unpriced]), end="")
    return 0


def _ask(settings: Settings, sql: str) -> list[dict[str, Any]]:
    token = settings.collector.query_token
    answer = read_query(
        collector_url(settings),
        sql,
        token=token.reveal() if token else None,
        served=served_certificate(settings),
    )
    names = [column["name"] for column in answer["columns"]]
    return [dict(zip(names, row, strict=True)) for row in answer["rows"]]


def _share_text(share: dict[str, Any]) -> str:
    """Return the share in words.

    >>> _share_text({"calls": 4, "priced_calls": 3, "tokens": 1000, "priced_tokens": 990})
    '99.0% of 1,000 tokens have a price (3 of 4 calls).'
    """
    if not share["calls"]:
        return "No model was called yet."
    if share["priced_calls"] == share["calls"]:
        return f"Every call has a price ({share['calls']:,} calls)."
    ratio = share["priced_tokens"] / share["tokens"] if share["tokens"] else 0
    return (
        f"{ratio:.1%} of {share['tokens']:,} tokens have a price"
        f" ({share['priced_calls']:,} of {share['calls']:,} calls)."
    )


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
                "when": when(band),
                "source": band.source,
                "valid_from": None if band.valid_from <= -ENDLESS else _date(band.valid_from),
                "pico_usd_per_unit": pico,
            }
        )
    return rows


def _date(unix_s: int) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d}"


def _unknown(catalog: Catalog, model: str) -> str:
    known: Sequence[Resolution] = catalog.standard_entries()
    close = get_close_matches(model, {entry.model for entry in known}, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "add a [[price]] to prices.toml."
    return f"No price list knows {model}: {hint}"
