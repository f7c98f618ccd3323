"""`python -m taximeter_collector.parquet_file URL FILE`: a query's rows into a Parquet file.

The statement and the token come as JSON on the standard input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from taximeter.settings.settings import SettingsError
from taximeter_collector.client import QueryError, ReadClient

_WRONG_USAGE: Final = frozenset({400, 401, 403, 413})


def main() -> int:
    """Write the file; return the exit code."""
    parser = argparse.ArgumentParser(prog="taximeter query --format parquet")
    parser.add_argument("url")
    parser.add_argument("file")
    parser.add_argument("--max-rows", type=int, default=1_000_000)
    parser.add_argument("--timeout", type=float, default=30.0)
    given = parser.parse_args()
    request = json.load(sys.stdin)
    unfinished = f"{given.file}.unfinished"
    try:
        served = Path(request["served"]) if request["served"] else None
        with ReadClient(
            given.url, request["token"] or None, given.timeout, served=served
        ) as client:
            table = client.query(request["sql"], max_rows=given.max_rows)
        pq.write_table(table, unfinished, compression="zstd")
        os.replace(unfinished, given.file)
    except SettingsError as error:
        print(f"taximeter query: {error}", file=sys.stderr)
        return 2
    except QueryError as error:
        print(f"taximeter query: {error}", file=sys.stderr)
        return 2 if error.status in _WRONG_USAGE else 1
    except OSError as error:
        print(f"taximeter query: {given.file} cannot be written: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
