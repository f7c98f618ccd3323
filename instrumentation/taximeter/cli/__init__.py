"""The console script `taximeter`: finds the command, runs it, returns its exit code.

0 fine, 1 a check failed, 2 wrong usage or configuration. No traceback reaches a user.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from taximeter.extras import missing_extra
from taximeter.settings.settings import SettingsError

_TRANSFER: Final = "taximeter_collector.transfer"
PARTS: Final = {
    "collector": ("taximeter_collector", "OTLP in, DuckDB in the middle, queries out"),
    "alerts": ("taximeter_alerts", "rules, notices, the alerts API"),
    "dashboard": ("taximeter_dashboard", "the web page"),
    "demo": ("taximeter.demo", "a fleet of simulated agents"),
    "repair": ("taximeter_collector.store.repair", "check and mend a stopped collector's files"),
    "explain": ("taximeter_collector.explain", "where the numbers of one span come from"),
    "backup": (_TRANSFER, "the data files, while the collector runs"),
    "restore": (_TRANSFER, "a backup becomes the data"),
    "export": (_TRANSFER, "all that is stored, as Parquet files"),
    "import": (_TRANSFER, "adds an export to what is stored"),
}
"""Commands that hand all their arguments to a module."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["run"]:
        from taximeter.cli.run import run

        return run(given[1:])
    try:
        if given and given[0] in PARTS:
            module = PARTS[given[0]][0]
            return _become(given[0], module, given if module == _TRANSFER else given[1:])
        if given[:1] == ["rules"] and given[1:2] in (["check"], ["backtest"], ["test-notify"]):
            return _become("alerts", "taximeter_alerts", given[1:])
        if given[:1] == ["digest"]:
            return _become("alerts", "taximeter_alerts", given)
        return _run(given)
    except SettingsError as error:
        print(f"taximeter: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output has seen enough; closing it again must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"taximeter: {error}", file=sys.stderr)
        return 1


def _run(given: list[str]) -> int:
    from taximeter.cli.doctor import add_doctor
    from taximeter.cli.prices import add_prices
    from taximeter.cli.query import add_query
    from taximeter.cli.reconcile import add_reconcile
    from taximeter.cli.status import add_status
    from taximeter.cli.up import add_up
    from taximeter.cli.verify import add_verify

    parser = argparse.ArgumentParser(
        prog="taximeter", description="The meter that runs on every agent request."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_up(commands)
    for name, (_, help) in PARTS.items():
        commands.add_parser(name, help=help, add_help=False)
    commands.add_parser(
        "run", help="your program, measured, without a change to it", add_help=False
    )
    add_query(commands)
    add_prices(commands)
    add_reconcile(commands)
    add_doctor(commands)
    add_status(commands)
    add_verify(commands)
    commands.add_parser("digest", help="what the digests say, without sending", add_help=False)
    rules = commands.add_parser("rules", help="check the alert rules, try a receiver")
    kinds = rules.add_subparsers(title="commands", metavar="COMMAND", required=True)
    kinds.add_parser("check", help="errors in an alerts.yaml, with their lines", add_help=False)
    kinds.add_parser("backtest", help="what would have fired in the past", add_help=False)
    kinds.add_parser("test-notify", help="send a test notice to a receiver", add_help=False)
    options = parser.parse_args(given)
    code: int = options.run(options)
    return code


def _become(part: str, module: str, arguments: Sequence[str]) -> int:
    if sentence := missing_extra(part):
        print(f"taximeter: {sentence}", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", module, *arguments]
    if sys.platform == "win32":
        return subprocess.call(command)
    # In our place: signals and the exit code are then the part's own.
    os.execv(sys.executable, command)


if __name__ == "__main__":
    sys.exit(main())
