"""`taximeter explain SPAN_ID`: the proof of one span's numbers, by the read API."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from taximeter.cli.options import add_reader_options
from taximeter.pricing import PriceFileError, load_catalog
from taximeter.settings.ports import collector_url, served_certificate
from taximeter.settings.settings import SettingsError, load_settings
from taximeter_collector.client import QueryError, ReadClient, plain_rows
from taximeter_collector.explain import NotExplainable, Proof, Replay, find_trace, gather, prove
from taximeter_collector.explain.text import as_text

_WRONG_USAGE: Final = frozenset({400, 401, 403, 413})


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the proof; return 0, 1 when a check of it fails, 2 when there is no such span."""
    given = _parser().parse_args(arguments)
    try:
        proof = _proof(given)
    except (NotExplainable, SettingsError, PriceFileError, ValueError) as error:
        print(f"taximeter explain: {error}", file=sys.stderr)
        return 2
    except QueryError as error:
        print(f"taximeter explain: {error}", file=sys.stderr)
        return 2 if error.status in _WRONG_USAGE else 1
    except OSError as error:
        print(f"taximeter explain: {error}", file=sys.stderr)
        return 1
    if given.json:
        print(json.dumps(proof.as_json(), indent=2, ensure_ascii=False))
    else:
        print(as_text(proof), end="")
    return int(proof.verdict == "failed")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="taximeter explain", description="Where the numbers of one span come from."
    )
    parser.add_argument("span_id", metavar="SPAN_ID", help="16 hexadecimal digits")
    parser.add_argument("--trace", metavar="TRACE_ID", help="where several traces have such a span")
    parser.add_argument("--json", action="store_true", help="for programs; money in pico-USD")
    add_reader_options(parser)
    return parser


def _proof(given: argparse.Namespace) -> Proof:
    settings = load_settings(given.config, data_dir=given.data_dir)
    catalog = load_catalog(settings.prices.file)
    token = settings.collector.query_token
    url = given.url or collector_url(settings)
    with ReadClient(
        url, token.reveal() if token else None, served=served_certificate(settings, given.url)
    ) as client:

        def ask(sql: str, params: Mapping[str, Any] | None = None, /) -> list[dict[str, Any]]:
            return plain_rows(client.query(sql, params))

        trace_id, span_id = find_trace(ask, given.span_id, given.trace)
        return prove(gather(ask, Replay(), trace_id, span_id), catalog)


if __name__ == "__main__":
    sys.exit(main())
