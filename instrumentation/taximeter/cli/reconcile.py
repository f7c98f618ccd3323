"""`taximeter reconcile FILE…`: a provider's usage and cost exports against the stored calls."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import date
from decimal import Decimal, InvalidOperation

from taximeter.cli.options import add_reader_options
from taximeter.extras import missing_extra
from taximeter.settings.ports import collector_url, served_certificate
from taximeter.settings.settings import load_settings


def add_reconcile(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "reconcile", help="a provider's usage or cost export against the stored calls"
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="JSON pages or CSV, of one provider or several"
    )
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")
    parser.add_argument("--json", action="store_true", help="for programs: --format json")
    parser.add_argument("--days", type=_days, metavar="N", help="the last N whole UTC days")
    parser.add_argument("--from", dest="first", type=_day, metavar="DAY", help="first UTC day")
    parser.add_argument("--to", dest="last", type=_day, metavar="DAY", help="last UTC day")
    parser.add_argument(
        "--tolerance", type=_tolerance, default="1%", metavar="T",
        help="what a cell's gap may be, timing aside: 1%% of the bill, or 0.50 for dollars",
    )  # fmt: skip
    parser.add_argument(
        "--latency", type=_seconds, default=300.0, metavar="S",
        help="how long after its end a provider may book a call (300)",
    )  # fmt: skip
    parser.add_argument("--timeout", metavar="S", type=_seconds, default=60.0, help="seconds")
    add_reader_options(parser)
    parser.set_defaults(run=run_reconcile)


def run_reconcile(options: argparse.Namespace) -> int:
    """Print the report; return 0 within the tolerance, 1 above it, 2 for wrong usage."""
    if sentence := missing_extra("reconcile"):
        print(f"taximeter reconcile: {sentence}", file=sys.stderr)
        return 2
    if options.days is not None and options.first is not None:
        print("taximeter reconcile: give --days or --from, not both.", file=sys.stderr)
        return 2
    settings = load_settings(options.config, data_dir=options.data_dir)
    token = settings.collector.query_token
    asked = {
        "files": options.files,
        "format": "json" if options.json else options.format,
        "days": options.days,
        "first": options.first,
        "last": options.last,
        "tolerance": options.tolerance,
        "latency_s": options.latency,
        "timeout_s": options.timeout,
        "url": options.url or collector_url(settings),
        "token": token.reveal() if token else "",
        "served": str(served_certificate(settings, options.url) or ""),
        "prices_file": str(settings.prices.file) if settings.prices.file else "",
    }
    command = [sys.executable, "-m", "taximeter_collector.reconcile"]
    # By its standard input: a command line can be read by everybody on the machine.
    return subprocess.run(command, input=json.dumps(asked), text=True, check=False).returncode


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2026-11-20") from None


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 3660:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days from 1 to 3660")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to 86400")
    return seconds


def _tolerance(text: str) -> str:
    try:
        value = Decimal(text.removesuffix("%"))
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or not 0 <= value < 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a share such as 1% nor dollars")
    return text
