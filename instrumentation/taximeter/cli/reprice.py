"""`taximeter prices reprice`: what history would cost by today's list; for good only when told so."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Final

from taximeter.cli.query import as_table
from taximeter.read_query import QueryFailed, ask
from taximeter.settings.ports import collector_url, served_certificate
from taximeter.settings.settings import load_settings

PATH: Final = "/v1/prices/reprice"
TIMEOUT_S: Final = 3600.0
_COLUMNS: Final = ("day", "provider", "model", "calls", "newly_priced", "no_longer_priced",
                   "before_usd", "after_usd", "difference_usd")  # fmt: skip
_NEWEST: Final = object()


def add_reprice(kinds: Any) -> argparse.ArgumentParser:
    """Register the command."""
    reprice: argparse.ArgumentParser = kinds.add_parser(
        "reprice", help="price stored calls again: the difference first, then for good"
    )
    time = reprice.add_mutually_exclusive_group()
    time.add_argument("--days", metavar="N", type=float, help="calls of the last N days (all)")
    time.add_argument("--from", dest="start", metavar="T", help="calls since, such as 2026-11-01")
    reprice.add_argument("--to", dest="end", metavar="T", help="calls before")
    reprice.add_argument("--dry-run", action="store_true", help="only show the difference")
    reprice.add_argument("--yes", action="store_true", help="do not ask")
    reprice.add_argument(
        "--undo",
        metavar="ID",
        nargs="?",
        type=int,
        const=_NEWEST,
        help="take the last repricing back",
    )
    reprice.set_defaults(run=run_reprice)
    return reprice


def run_reprice(options: argparse.Namespace) -> int:
    """Show the difference and, if told so, apply it; return 1 if nothing could be done."""
    try:
        return _undo(options) if options.undo is not None else _reprice(options)
    except QueryFailed as error:
        print(f"taximeter prices: {error}", file=sys.stderr)
        return error.exit_code


def _reprice(options: argparse.Namespace) -> int:
    window = {"days": options.days, "from": options.start, "to": options.end}
    window = {key: value for key, value in window.items() if value is not None}
    found = _ask(options, window)
    if options.json and (options.dry_run or not found["rows"]):
        print(json.dumps(found, indent=2))
        return 0
    _show(found, sys.stderr if options.json else sys.stdout)
    if options.dry_run or not found["rows"]:
        return 0
    if not options.yes and not _is_wanted():
        print("Nothing was changed: say --yes to apply this.", file=sys.stderr)
        return 1
    asked = window | {"apply": True, "price_version": found["price_version"]}
    done = _ask(options, asked)
    if options.json:
        print(json.dumps(done, indent=2))
        return 0
    print(
        f"Repricing {done['repricing_id']}: {done['calls']:,} calls, from ${done['before_usd']:,.6f}"
        f" to ${done['after_usd']:,.6f}. `taximeter prices reprice --undo` takes it back."
    )
    return 0


def _undo(options: argparse.Namespace) -> int:
    done = _ask(options, {"undo": None if options.undo is _NEWEST else options.undo})
    if options.json:
        print(json.dumps(done, indent=2))
    else:
        print(
            f"Repricing {done['repricing_id']} is undone; its {done['calls']:,} calls cost what they did."
        )
    return 0


def _show(found: dict[str, Any], out: Any) -> None:
    print(f"Prices now: {found['price_version']}", file=out)
    if not found["rows"]:
        print("Every call costs what it did: nothing to change.", file=out)
        return
    rows = [[row[name] for name in _COLUMNS] for row in found["rows"]]
    print(as_table(_COLUMNS, rows), end="", file=out)
    print(
        f"{found['calls']:,} calls: ${found['before_usd']:,.6f} before, ${found['after_usd']:,.6f}"
        f" after, difference ${found['difference_usd']:+,.6f}",
        file=out,
    )


def _is_wanted() -> bool:
    if not sys.stdin.isatty():
        return False
    return input("Apply this? [y/N] ").strip().lower() in ("y", "yes")


def _ask(options: argparse.Namespace, document: dict[str, Any]) -> dict[str, Any]:
    settings = load_settings(options.config, data_dir=options.data_dir)
    token = settings.collector.query_token
    secret = token.reveal() if token else None
    return ask(
        collector_url(settings),
        PATH,
        document,
        token=secret,
        timeout_s=TIMEOUT_S,
        served=served_certificate(settings),
    )
