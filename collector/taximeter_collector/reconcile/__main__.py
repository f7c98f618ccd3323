"""`python -m taximeter_collector.reconcile`: the work behind `taximeter reconcile`.

What is asked comes as JSON on the standard input: a command line can be read by everybody.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from taximeter.pricing import PriceFileError, load_catalog
from taximeter_collector.client import QueryError, ReadClient
from taximeter_collector.reconcile.compare import Comparison, Tolerance, compare, window
from taximeter_collector.reconcile.files import read_exports
from taximeter_collector.reconcile.report import as_json, as_lines, as_text
from taximeter_collector.reconcile.rows import ExportError
from taximeter_collector.reconcile.stored import Stored

_WRONG_USAGE = frozenset({400, 401, 403, 413})


def main() -> int:
    """Print the report; return 0 within the tolerance, 1 above it, 2 for what can't be read."""
    asked = json.load(sys.stdin)
    try:
        comparison = _compare(asked)
    except (ExportError, PriceFileError) as error:
        print(f"taximeter reconcile: {error}", file=sys.stderr)
        return 2
    except QueryError as error:
        print(f"taximeter reconcile: {error}", file=sys.stderr)
        return 2 if error.status in _WRONG_USAGE else 1
    text = {
        "json": lambda: as_json(comparison),
        "csv": lambda: as_lines(comparison),
        "table": lambda: as_text(comparison, _verdict(comparison, asked["tolerance"])),
    }[asked["format"]]()
    sys.stdout.write(text)
    return 0 if comparison.is_fine else 1


def _compare(asked: dict[str, Any]) -> Comparison:
    export = read_exports([Path(name) for name in asked["files"]])
    catalog = load_catalog(Path(asked["prices_file"]) if asked["prices_file"] else None)
    first, last = (
        date.fromisoformat(asked[name]) if asked[name] else None for name in ("first", "last")
    )
    first, last = window(asked["days"], first, last, datetime.now(UTC))
    served = Path(asked["served"]) if asked["served"] else None
    with ReadClient(
        asked["url"], asked["token"] or None, asked["timeout_s"], served=served
    ) as client:
        return compare(
            export,
            Stored(client),
            catalog,
            _tolerance(asked["tolerance"]),
            first=first,
            last=last,
            latency=timedelta(seconds=asked["latency_s"]),
        )


def _tolerance(said: str) -> Tolerance:
    """Return it from a share such as `1%` or an amount in USD.

    >>> _tolerance("2.5%").share, _tolerance("0.50").pico
    (Decimal('0.025'), 500000000000)
    """
    if said.endswith("%"):
        return Tolerance(Decimal(said[:-1]) / 100)
    return Tolerance(Decimal(0), int(Decimal(said) * 10**12))


def _verdict(comparison: Comparison, tolerance: str) -> str:
    above = sum(not finding.is_within for finding in comparison.findings)
    unread = sum(not one.is_harmless for one in comparison.export.ignored)
    said = [f"{above} of {len(comparison.findings)} cells are above the tolerance of {tolerance}"]
    said += [f"{unread} rows could not be compared"] * bool(unread)
    if comparison.is_fine:
        return f"All {len(comparison.findings)} cells are within the tolerance of {tolerance}."
    return "; ".join(said) + "."


if __name__ == "__main__":
    sys.exit(main())
