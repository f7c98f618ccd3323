"""The alerts: rules → evaluate → state and outbox → notifiers, until a signal."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from taximeter.settings.ports import collector_url, served_certificate
from taximeter.settings.settings import Settings, SettingsError, load_settings
from taximeter_alerts.amounts import say_count
from taximeter_alerts.backtest.backtest import backtest_json, backtest_text, run_backtest
from taximeter_alerts.backtest.backtest_job import MOST_DAYS
from taximeter_alerts.digest.digests import previews
from taximeter_alerts.notification_log import AlreadyRunning, NewerFile, ReadOnlyLog
from taximeter_alerts.notifiers.channels import notifiers_of
from taximeter_alerts.notifiers.email import notice_text
from taximeter_alerts.outbox.delivery import Delivery, NotificationError
from taximeter_alerts.outbox.notice import sample_notice
from taximeter_alerts.rules.book import RuleBook
from taximeter_alerts.rules.rules_file import RulesError, load_rules, parse_rules, say_book
from taximeter_alerts.rules.rules_on_disk import rules_path
from taximeter_alerts.serve import run
from taximeter_alerts.service import dashboard_url
from taximeter_collector.client import QueryError, ReadClient


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 fine, 1 a check or the start failed, 2 wrong configuration."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # Its request lines would hold the webhook's address.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    # Not as defaults: those of a command would overwrite what stands before it.
    given = _parser().parse_args(arguments, argparse.Namespace(config=None, data_dir=None))
    try:
        settings = load_settings(given.config, data_dir=given.data_dir)
        if given.command == "check":
            return _check(settings, given.file)
        if given.command == "test-notify":
            return _test_notify(settings, given.receiver)
        if given.command == "backtest":
            return _backtest(settings, given.file, given.days, is_json=given.json)
        if given.command == "digest":
            return _digest(settings)
        run(settings)
    except RulesError as error:
        print(error, file=sys.stderr)
        if given.command == "check":
            return 1
        faults = say_count(len(error.faults), "fault")  # the last line is what `taximeter up` shows
        print(f"{error.file} has {faults}: `taximeter rules check` lists them.", file=sys.stderr)
        return 2
    except QueryError as error:
        print(f"taximeter alerts: {error.message}", file=sys.stderr)
        return 1
    except (AlreadyRunning, NewerFile, SettingsError) as error:
        print(f"taximeter alerts: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"taximeter alerts: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _check(settings: Settings, file: Path | None) -> int:
    path = file or rules_path(settings)
    book = _book(settings, file)
    where = path or "no alerts.yaml found, the default rules run"
    print(f"{where}: {say_book(book)}")
    return 0


def _book(settings: Settings, file: Path | None) -> RuleBook:
    """Return the rules of a file, of - the text that is piped in; without one those in use."""
    if file == Path("-"):
        return parse_rules(sys.stdin.read(), "-", os.environ)
    return load_rules(file or rules_path(settings))


def _test_notify(settings: Settings, receiver: str) -> int:
    path = rules_path(settings)
    book = load_rules(path)
    notifiers = notifiers_of(book)
    if receiver not in notifiers:
        none = (
            f"none: add one under notify: in {path}" if path else "none: no alerts.yaml was found"
        )
        known = ", ".join(notifiers) or none
        raise SettingsError(f"there is no receiver {receiver!r}; there is {known}.")
    notice = sample_notice(dashboard_url(settings, book))
    try:
        notifiers[receiver].send(notice, Delivery(f"{notice.incident}:test"))
    except NotificationError as error:
        print(f"taximeter alerts: {receiver}: {error}.", file=sys.stderr)
        return 1
    print(f"{receiver}: the test notice was delivered.")
    return 0


def _backtest(settings: Settings, file: Path | None, days: int, *, is_json: bool) -> int:
    book = _book(settings, file)
    reader = _reader(settings)
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start = end - timedelta(days=days)

    def say(at: datetime) -> None:
        if sys.stderr.isatty() and at.hour == at.minute == 0:
            print(f"\r{at:%Y-%m-%d}", end="\r", file=sys.stderr, flush=True)

    found = run_backtest(book, reader, start, end, say)
    if not found.groups:
        print(f"taximeter alerts: there was no traffic in the last {days} days.", file=sys.stderr)
        return 1
    print(json.dumps(backtest_json(found), indent=2) if is_json else backtest_text(found))
    return 0


def _digest(settings: Settings) -> int:
    """Print what the digests say of their last complete day or week; nothing is sent."""
    book = load_rules(rules_path(settings))
    log = ReadOnlyLog(settings.store.data_dir)
    base = dashboard_url(settings, book)
    found = previews(book, _reader(settings), log, lambda: datetime.now(UTC), base)
    if not book.digests:
        print("alerts.yaml asks for no digest; a daily one would say:\n")
    for digest, notice in found:
        if book.digests:
            names = [receiver.name for receiver in book.receivers_of_digest(digest)]
            when = "on Mondays" if digest.every == "week" else "each day"
            to = ", ".join(names) or "nobody: name a receiver under notify:"
            print(f"Sent {when} at {digest.at:%H:%M} {digest.zone} to {to}:\n")
        print(notice_text(notice))
    return 0


def _reader(settings: Settings) -> ReadClient:
    token = settings.collector.query_token
    return ReadClient(collector_url(settings), token, served=served_certificate(settings))


def _days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {MOST_DAYS}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    where = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    where.add_argument("--config", metavar="FILE", help="taximeter.toml")
    where.add_argument("--data-dir", metavar="DIR", help="where the data lies")
    parser = argparse.ArgumentParser(
        prog="taximeter alerts",
        description="Watches the metrics and tells people.",
        parents=[where],
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", prog="taximeter rules")

    def add(name: str, help: str, prog: str = "taximeter rules") -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help, parents=[where], prog=f"{prog} {name}")

    check = add("check", "errors in an alerts.yaml, with their lines")
    check.add_argument("file", nargs="?", type=Path, metavar="FILE")
    past = add("backtest", "what the rules would have sent in the past")
    past.add_argument("file", nargs="?", type=Path, metavar="FILE")
    past.add_argument("--days", type=_days, default=30, metavar="N", help="how far back (30)")
    past.add_argument("--json", action="store_true", help="for programs")
    test = add("test-notify", "send a test notice to a receiver")
    test.add_argument("receiver", metavar="RECEIVER")
    add("digest", "what the digests say, without sending", prog="taximeter")
    return parser


if __name__ == "__main__":
    sys.exit(main())
