"""`taximeter verify`: the collector computes a time again from its spans and compares the roll-ups."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from taximeter.cli.options import add_reader_options
from taximeter.cli.query import as_table
from taximeter.read_query import QueryFailed, ask
from taximeter.settings.ports import collector_url, served_certificate
from taximeter.settings.settings import SettingsError, load_settings
from taximeter.times import utc

PIECE: Final = timedelta(days=1)
"""A longer time is asked for in pieces, so that none is too much for the collector."""
SHOWN: Final = 20
TIMEOUT_S: Final = 900.0
_COUNTS: Final = ("traces", "spans", "difference_count", "repriced_calls", "incomplete_traces", "unsure_minutes")  # fmt: skip
_LISTS: Final = ("differences", "failures")


def add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    verify = commands.add_parser("verify", help="are the roll-ups what the spans say?")
    verify.add_argument("--from", dest="start", metavar="T", help="such as 2026-11-24T08:00 (UTC)")
    verify.add_argument("--to", dest="end", metavar="T", help="by default now")
    verify.add_argument("--hours", metavar="N", type=float, help="the last N hours (24)")
    verify.add_argument("--repair", action="store_true", help="derive again what differs")
    verify.add_argument("--json", action="store_true", help="for programs")
    add_reader_options(verify)
    verify.set_defaults(run=run_verify)


def run_verify(options: argparse.Namespace) -> int:
    """Print the report; return 1 if something differs, 2 if the question was at fault."""
    settings = load_settings(options.config, data_dir=options.data_dir)
    start, end = window(options, datetime.now(UTC))
    url, token = options.url or collector_url(settings), settings.collector.query_token
    served = served_certificate(settings, options.url)
    reports = []
    try:
        for first, last in pieces(start, end):
            document = {
                "from": first.isoformat(), "to": last.isoformat(), "repair": options.repair,
            }  # fmt: skip
            secret = token.reveal() if token else None
            reports.append(
                ask(url, "/v1/verify", document, token=secret, timeout_s=TIMEOUT_S, served=served)
            )
    except QueryFailed as error:
        print(f"taximeter verify: {error}", file=sys.stderr)
        return error.exit_code
    whole = merged(reports) | {"from": start.isoformat(), "to": end.isoformat()}
    if options.json:
        print(json.dumps(whole, indent=2, ensure_ascii=False))
    else:
        sys.stdout.write(as_text(whole))
    return 0 if whole["is_right"] else 1


def window(options: argparse.Namespace, now: datetime) -> tuple[datetime, datetime]:
    """Return the time that is asked for. Raises SettingsError."""
    if options.start and options.hours is not None:
        raise SettingsError("verify takes --from or --hours, not both")
    # A sender's clock may be ahead of ours.
    end = _time("--to", options.end) if options.end else now + timedelta(minutes=5)
    if options.start:
        start = _time("--from", options.start)
    else:
        hours = 24.0 if options.hours is None else options.hours
        if not 0 < hours <= 24 * 3660:
            raise SettingsError("verify --hours takes a number above 0, such as 24")
        start = (end if options.end else now) - timedelta(hours=hours)
    if start >= end:
        raise SettingsError(
            f"verify: --from {start:%Y-%m-%dT%H:%M} is not before --to {end:%Y-%m-%dT%H:%M}"
        )
    return start, end


def _time(option: str, text: str) -> datetime:
    try:
        return utc(text)
    except ValueError:
        raise SettingsError(
            f"verify {option} takes a time such as 2026-11-24T08:00, not {text!r}"
        ) from None


def pieces(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the window in pieces of whole minutes, each at most a day.

    >>> day = datetime(2026, 11, 24, tzinfo=UTC)
    >>> [str(last - first) for first, last in pieces(day, day + timedelta(hours=30))]
    ['1 day, 0:00:00', '6:00:00']
    """
    start = start.replace(second=0, microsecond=0)
    while start < end:
        yield start, min(start + PIECE, end)
        start += PIECE


def merged(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the reports of all pieces as one; a trace in two pieces counts in both."""
    whole: dict[str, Any] = {name: sum(report[name] for report in reports) for name in _COUNTS}
    whole |= {name: [item for report in reports for item in report[name]] for name in _LISTS}
    whole["is_right"] = all(report["is_right"] for report in reports)
    repaired = [report["repaired"] for report in reports if "repaired" in report]
    if repaired:
        whole["repaired"] = {name: sum(one[name] for one in repaired) for name in repaired[0]}
    return whole


def as_text(report: dict[str, Any]) -> str:
    """Return the report for people."""
    window = f"{report['from'][:16]} to {report['to'][:16]} UTC"
    lines = [f"{window}: {report['traces']:,} traces computed again, {report['spans']:,} spans."]
    if repaired := report.get("repaired"):
        lines.append(
            f"Repaired {repaired['differences']:,} differences: {repaired['traces']:,} traces and"
            f" {repaired['minutes']:,} minutes derived again."
        )
    if count := report["repriced_calls"]:
        lines.append(
            f"{count:,} calls are stored with another price list than today's: their money is not compared."
        )
    if count := report["incomplete_traces"]:
        lines.append(f"{count:,} traces began before the oldest span that is kept: not compared.")
    if count := report["unsure_minutes"]:
        lines.append(f"{count:,} minutes contain such calls or traces: not compared.")
    lines += [
        f"Trace {failure['trace_id']} can't be derived: {failure['error']}"
        for failure in report["failures"][:SHOWN]
    ]
    if not report["difference_count"]:
        lines.append("No difference." if report["is_right"] else "No other difference.")
        return "\n".join(lines) + "\n"
    rows = [_row(difference) for difference in report["differences"][:SHOWN]]
    table = as_table(["table", "key", "column", "stored", "recomputed"], rows)
    rest = report["difference_count"] - len(rows)
    more = f"… and {rest:,} more (--json lists them)\n" if rest else ""
    hint = "" if "repaired" in report else "--repair derives them again.\n"
    return (
        "\n".join([*lines, f"{report['difference_count']:,} differences:", ""])
        + "\n"
        + table
        + more
        + hint
    )


def _row(difference: dict[str, Any]) -> list[Any]:
    key = " ".join(value for value in difference["key"].values() if value is not None)
    column = difference["column"] or "(row)"
    return [difference["table"], key, column, difference["stored"], difference["recomputed"]]
