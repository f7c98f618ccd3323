"""`taximeter status`: is telemetry taken in, what became of it, and what happened to the files."""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
from collections.abc import Iterator
from typing import Any, Final

from taximeter.cli.options import add_reader_options
from taximeter.read_query import open_url
from taximeter.settings.ports import collector_url, live_port, served_certificate
from taximeter.settings.settings import load_settings

_FATES: Final = ("received", "stored", "rejected", "duplicate", "refused", "cut")


def add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    status = commands.add_parser("status", help="is telemetry taken in, and what became of it")
    status.add_argument("--json", action="store_true", help="all of it, for programs")
    add_reader_options(status)
    status.set_defaults(run=run_status)


def run_status(options: argparse.Namespace) -> int:
    """Print the status; return 1 if telemetry is refused, an alarm waits or nobody answers."""
    settings = load_settings(options.config, data_dir=options.data_dir)
    if (
        options.data_dir
        and not options.url
        and live_port(settings.store.data_dir, "collector") is None
    ):
        where = settings.store.data_dir
        print(f"taximeter status: no collector runs on {where}: run `taximeter up --data-dir {where}`.", file=sys.stderr)  # fmt: skip
        return 1
    url = options.url or collector_url(settings)
    try:
        with open_url(
            f"{url}/v1/status",
            settings.collector.query_token,
            timeout_s=10,
            served=served_certificate(settings, options.url),
        ) as answer:
            status: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        hint = ": set TAXIMETER_QUERY_TOKEN" if error.code == 401 else ""
        print(f"taximeter status: {url} answers {error.code}{hint}.", file=sys.stderr)
        return 1
    except (OSError, ValueError):
        print(f"taximeter status: nothing answers at {url}: run `taximeter up`.", file=sys.stderr)
        return 1
    print(json.dumps(status, indent=2) if options.json else "\n".join(lines_of(status)))
    store = status["store"]
    return int(store["state"] != "ok" or bool(store["alarms"]))


def lines_of(status: dict[str, Any]) -> Iterator[str]:
    """Yield the status for people."""
    store, seconds = status["store"], status["commit_seconds"]
    yield f"store: {store['state']}{': ' if store['message'] else ''}{store['message']}"
    yield f"data: {status['data_dir']}, collector {status['version']}, process {status['pid']}"
    yield f"disk: {store['free_bytes'] / 1e9:,.1f} GB free, {status['store_bytes'] / 1e9:,.3f} GB used"
    for signal in status["received"]:
        counts = ", ".join(f"{status.get(fate, {}).get(signal, 0):,} {fate}" for fate in _FATES)
        yield f"{signal}: {counts}"
    yield f"queue: {status['queue_depth']:,} requests, {status['queue_bytes']:,} bytes"
    if seconds["p50"] is not None:
        yield f"commits: {status['commits']:,}, median {seconds['p50']:.3f} s, slowest {seconds['max']:.3f} s"
    if status["lag_s"] is not None:
        yield f"roll-ups: {status['lag_s']:.1f} s behind"
    for error in status["errors"]:
        yield f"last error: {error}"
    for alarm in store["alarms"]:
        yield f"ALARM {alarm['at'][:19]} {alarm['message']}"
