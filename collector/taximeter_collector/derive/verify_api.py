"""POST /v1/verify: a window in, the report of its comparison out; with ``repair`` also the cure."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import duckdb

from taximeter.times import utc
from taximeter_collector.derive.verify import Report, WindowTooLong, verify_window
from taximeter_collector.query.read_api import QueryFault
from taximeter_collector.store.store import Store

TIMEOUT_S: Final = 240.0
"""For one look; a repair may take as long, and is followed by another look."""
LONGEST: Final = timedelta(days=366)


class Repairs(Protocol):
    """The follower: the only one that writes roll-ups."""

    def repair(self, traces: Sequence[str], minutes: Sequence[datetime]) -> Future[None]:
        """Derive traces and minutes again."""


class Verifier:
    """Looks at one window at a time: a second question waits for the first."""

    def __init__(self, store: Store, rollups: Repairs) -> None:
        self._store, self._rollups = store, rollups
        self._one = threading.Lock()

    def answer(self, body: bytes) -> dict[str, Any]:
        """Return the report for a request's body as JSON has it. Raises QueryFault."""
        start, end, repair = parse_request(body)
        with self._one:
            before = self._look(start, end)
            if not repair or before.is_right:
                return before.as_dict()
            self._repair(before)
            after = self._look(start, end)
        return after.as_dict() | {
            "repaired": {
                "traces": len(before.wrong_traces),
                "minutes": len(before.wrong_minutes),
                "differences": before.difference_count - after.difference_count,
            }
        }

    def _look(self, start: datetime, end: datetime) -> Report:
        with self._store.cursor() as cursor:

            def stop() -> None:
                with suppress(duckdb.Error):
                    cursor.interrupt()

            timer = threading.Timer(TIMEOUT_S, stop)
            timer.daemon = True
            timer.start()
            try:
                return verify_window(self._store, cursor, start, end)
            except WindowTooLong as error:
                raise QueryFault(413, "too_long", f"{error}.") from None
            except duckdb.InterruptException:
                raise QueryFault(
                    504, "timeout", f"It took longer than {TIMEOUT_S:g} s: ask for a shorter time."
                ) from None
            except duckdb.Error as error:
                text = str(error).partition("\n")[0]
                raise QueryFault(500, "store", f"The window can't be computed: {text}") from None
            finally:
                timer.cancel()

    def _repair(self, report: Report) -> None:
        try:
            self._rollups.repair(report.wrong_traces, report.wrong_minutes).result(TIMEOUT_S)
        except FutureTimeout:
            raise QueryFault(504, "timeout", "The repair goes on: verify again later.") from None
        except duckdb.Error as error:
            text = str(error).partition("\n")[0]
            raise QueryFault(500, "store", f"The repair failed, nothing changed: {text}") from None


def parse_request(body: bytes) -> tuple[datetime, datetime, bool]:
    """Return start, end and whether to repair. Raises QueryFault 400.

    >>> parse_request(b'{"from": "2026-11-24", "to": "2026-11-25T00:00:00Z"}')[0].isoformat()
    '2026-11-24T00:00:00+00:00'
    """
    try:
        document = json.loads(body)
        start, end = utc(document["from"]), utc(document["to"])
        repair = document.get("repair", False)
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        raise QueryFault(
            400,
            "request",
            'The body must be like {"from": "2026-11-24T00:00:00Z", "to": "2026-11-25T00:00:00Z"}.',
        ) from None
    if not isinstance(repair, bool):
        raise QueryFault(400, "request", '"repair" must be true or false.')
    if not timedelta() < end - start <= LONGEST:
        raise QueryFault(400, "request", f'"to" must be after "from", at most {LONGEST.days} days.')
    return start, end, repair
