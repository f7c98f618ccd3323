"""POST /v1/prices/reprice: a window in, the difference out; with ``apply`` for good, or ``undo``."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

import duckdb

from taximeter.pricing import PriceFileError
from taximeter.times import utc
from taximeter_collector.prices.reprice import NothingToUndo, Window, apply, plan, undo
from taximeter_collector.query.read_api import QueryFault
from taximeter_collector.store.store import Store


class Runs(Protocol):
    """The follower: the only one that writes roll-ups."""

    def run(self, work: Callable[[duckdb.DuckDBPyConnection], Any]) -> Future[Any]:
        """Do the work between two steps."""


class Repricer:
    """One question at a time: a second one waits."""

    def __init__(self, store: Store, rollups: Runs) -> None:
        self._store, self._rollups = store, rollups
        self._one = threading.Lock()

    def answer(self, body: bytes) -> dict[str, Any]:
        """Return the difference, or the record of what was done. Raises QueryFault."""
        asked = _document(body)
        with self._one:
            try:
                if "undo" in asked:
                    return self._do(partial(undo, self._store, _id(asked)))
                window = _window(asked)
                with self._store.cursor() as cursor:
                    found = plan(self._store, cursor, window)
                if asked.get("apply") is not True:
                    return found
                if asked.get("price_version") != found["price_version"]:
                    raise QueryFault(
                        409,
                        "changed",
                        "The prices have changed since: look at the difference again.",
                    )
                return self._do(partial(apply, self._store, window)) | {"rows": found["rows"]}
            except PriceFileError as error:
                raise QueryFault(400, "prices", str(error)) from None
            except NothingToUndo as error:
                raise QueryFault(400, "undo", str(error)) from None
            except duckdb.Error as error:
                text = str(error).partition("\n")[0]
                raise QueryFault(500, "store", f"The calls can't be priced again: {text}") from None

    def _do(self, work: Callable[[duckdb.DuckDBPyConnection], Any]) -> dict[str, Any]:
        done: dict[str, Any] = self._rollups.run(work).result()
        return done


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    allowed = {"days", "from", "to", "apply", "price_version", "undo"}
    if not isinstance(document, dict) or not document.keys() <= allowed:
        raise QueryFault(
            400, "request", f"The body is a JSON object of {', '.join(sorted(allowed))}."
        )
    return document


def _id(asked: dict[str, Any]) -> int | None:
    wanted = asked["undo"]
    if wanted is not None and type(wanted) is not int:
        raise QueryFault(
            400, "request", '"undo" is the number of a repricing, or null for the last.'
        )
    return wanted


def _window(asked: dict[str, Any]) -> Window:
    days = asked.get("days")
    if days is not None:
        if isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days < 36_600:
            raise QueryFault(400, "request", '"days" must be a number above zero.')
        return Window(datetime.now(UTC) - timedelta(days=days), None)
    window = Window(*(_time(asked, key) for key in ("from", "to")))
    if window.start and window.end and window.start >= window.end:
        raise QueryFault(400, "request", '"to" must be after "from".')
    return window


def _time(asked: dict[str, Any], key: str) -> datetime | None:
    text = asked.get(key)
    if text is None:
        return None
    try:
        return utc(text)
    except ValueError:
        raise QueryFault(400, "request", f'"{key}" must be like 2026-11-24.') from None
