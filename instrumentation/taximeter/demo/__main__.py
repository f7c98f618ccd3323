"""`python -m taximeter.demo`: fill a collector with history, and keep it moving with --live."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from taximeter.extras import missing_extra
from taximeter.settings.ports import collector_url
from taximeter.settings.settings import Settings, SettingsError, load_settings

DEFAULT_DAYS: Final = 14.0
DEFAULT_SEED: Final = 7


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit code: 0 fine, 1 stopped early or spans lost, 2 wrong set-up."""
    options = _parse(arguments)
    if missing := missing_extra("demo"):
        return _complain(missing, 2)
    try:
        settings = load_settings(data_dir=options.data_dir)
    except SettingsError as error:
        return _complain(str(error), 2)
    return _run(options, settings)


def _run(options: argparse.Namespace, settings: Settings) -> int:
    from taximeter.demo.fleet import Fleet, FleetError, open_history

    history = open_history(datetime.now(UTC), options.days, options.seed)
    fleet = Fleet(history, _endpoint(options, settings), lambda line: print(line, flush=True))
    tokens = settings.collector
    if tokens.ingest_token is not None:
        os.environ["TAXIMETER_INGEST_TOKEN"] = tokens.ingest_token.reveal()
    query_token = None if tokens.query_token is None else tokens.query_token.reveal()
    try:
        report = fleet.run(is_live=options.live, is_forced=options.again, query_token=query_token)
    except FleetError as error:
        return _complain(str(error), 1)
    return 0 if report.lost_spans == 0 else 1


def _endpoint(options: argparse.Namespace, settings: Settings) -> str:
    return str(options.endpoint).rstrip("/") if options.endpoint else collector_url(settings)


def _complain(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="taximeter demo",
        description="A fleet of simulated agents, through the real shim and a fake model API.",
    )
    parser.add_argument(
        "--days", type=_days, default=DEFAULT_DAYS, help="days of history to make (default 14)"
    )
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="same seed, same history")
    parser.add_argument("--live", action="store_true", help="keep going after the history")
    parser.add_argument("--endpoint", help="the collector's HTTP address (default: the one here)")
    parser.add_argument("--data-dir", help="where a collector writes its ports.json")
    parser.add_argument(
        "--again", action="store_true", help="make the history even if there is one already"
    )
    return parser.parse_args(arguments)


def _days(text: str) -> float:
    days = float(text)
    if not 0 <= days <= 60:
        raise argparse.ArgumentTypeError("give a number of days from 0 to 60")
    return days


if __name__ == "__main__":
    sys.exit(main())
