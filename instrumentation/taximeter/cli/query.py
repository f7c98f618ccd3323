"""`taximeter query "SQL"`: read-only SQL through the collector, as a table, JSON, CSV or Parquet."""

from __future__ import annotations

import argparse
import csv
import io
import json
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from taximeter.cli.options import add_reader_options
from taximeter.extras import missing_extra
from taximeter.read_query import QueryFailed, read_query
from taximeter.settings.ports import collector_url, served_certificate
from taximeter.settings.settings import Settings, load_settings

MAX_CELL: Final = 80
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


def add_query(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    query = commands.add_parser("query", help="read-only SQL through the collector")
    query.add_argument("sql", metavar="SQL", help='such as "select * from requests limit 5"')
    query.add_argument("--format", choices=("table", "json", "csv", "parquet"), default="table")
    query.add_argument("-o", "--output", metavar="FILE", help="write here instead of the screen")
    query.add_argument("--max-rows", metavar="N", type=int, default=1_000_000)
    query.add_argument("--timeout", metavar="S", type=float, default=30.0, help="seconds")
    add_reader_options(query)
    query.set_defaults(run=run_query)


def run_query(options: argparse.Namespace) -> int:
    """Print or write the answer; return the exit code."""
    settings = load_settings(options.config, data_dir=options.data_dir)
    url = options.url or collector_url(settings)
    token = settings.collector.query_token
    if options.format == "parquet":
        return _write_parquet(options, url, settings)
    try:
        answer = read_query(
            url,
            options.sql,
            token=token.reveal() if token else None,
            timeout_s=options.timeout,
            max_rows=options.max_rows,
            served=served_certificate(settings, options.url),
        )
    except QueryFailed as error:
        print(f"taximeter query: {error}", file=sys.stderr)
        return error.exit_code
    names = [column["name"] for column in answer["columns"]]
    text = _FORMATTERS[options.format](names, answer["rows"])
    if options.output:
        # Universal newlines would double those that CSV quotes.
        try:
            Path(options.output).write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            print(
                f"taximeter query: cannot write {options.output} ({error.strerror}): "
                "name another file with -o.",
                file=sys.stderr,
            )
            return 2
    else:
        sys.stdout.write(text)
    return 0


def _write_parquet(options: argparse.Namespace, url: str, settings: Settings) -> int:
    if not options.output:
        print("taximeter query: Parquet is no text: name a file with -o FILE.", file=sys.stderr)
        return 2
    if sentence := missing_extra("parquet"):
        print(f"taximeter query: {sentence}", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", "taximeter_collector.parquet_file", url, options.output]
    command += ["--max-rows", str(options.max_rows), "--timeout", str(options.timeout)]
    request = {
        "sql": options.sql,
        "token": settings.collector.query_token.reveal() if settings.collector.query_token else "",
        "served": str(served_certificate(settings, options.url) or ""),
    }
    # By its standard input: a command line can be read by everybody on the machine.
    return subprocess.run(command, input=json.dumps(request), text=True, check=False).returncode


def as_table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return aligned columns, numbers to the right.

    >>> print(as_table(["agent", "usd"], [["bot", 1.5], ["pest", None]]), end="")
    agent   usd
    -----  ----
    bot     1.5
    pest   NULL
    (2 rows)
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [
        max([_width(name), *(_width(row[at]) for row in cells)]) for at, name in enumerate(names)
    ]
    to_right = [
        any(_is_number(row[at]) for row in rows)
        and all(_is_number(row[at]) or row[at] is None for row in rows)
        for at in range(len(names))
    ]

    def line(texts: Sequence[str]) -> str:
        padded = [
            _padded(text, width, right)
            for text, width, right in zip(texts, widths, to_right, strict=True)
        ]
        return "  ".join(padded).rstrip()

    count = f"({len(rows)} row{'' if len(rows) == 1 else 's'})"
    body = [line(names), "  ".join("-" * width for width in widths), *map(line, cells), count]
    return "\n".join(body) + "\n"


def as_json(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a list of objects, one a row.

    >>> as_json(["a"], [[1], [None]])
    '[\\n{"a": 1},\\n{"a": null}\\n]\\n'
    """
    objects = (json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows)
    inside = ",\n".join(objects)
    return f"[\n{inside}\n]\n" if inside else "[]\n"


def as_csv(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return CSV; a text that a spreadsheet would run as a formula gets an apostrophe before it.

    >>> as_csv(["a", "b"], [["=1+1", -1], [None, {"x": 1}]])
    'a,b\\r\\n\\'=1+1,-1\\r\\n,"{""x"": 1}"\\r\\n'
    """
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow([_csv_text(name) for name in names])
    writer.writerows([_csv_cell(value) for value in row] for row in rows)
    return stream.getvalue()


_FORMATTERS: Final = {"table": as_table, "json": as_json, "csv": as_csv}


def _csv_cell(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return _csv_text(json.dumps(value, ensure_ascii=False))
    return _csv_text(value) if isinstance(value, str) else value


def _csv_text(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # What a terminal would obey (escape codes, line ends) is shown and not sent.
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)


def _padded(text: str, width: int, to_right: bool) -> str:
    padding = " " * (width - _width(text))
    return padding + text if to_right else text + padding
