"""Asks the collector for the fleet's budgets in the background: no call ever waits for that."""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context as Variables
from dataclasses import replace
from typing import Any, Final

from taximeter.budgets.asking import Asker, Reply, Unanswered, budgets_url
from taximeter.budgets.fleet import Fleet, Kept
from taximeter.budgets.stops import Stops, read_stops
from taximeter.export.queue import mute
from taximeter.runs.call_cost import Terms
from taximeter.runs.levels import Level

EVERY_S = 15.0
_WORDS: Final = {"": None, "0": None, "false": None, "no": None, "1": "", "true": "", "yes": ""}
_JITTER: Final = 0.2
"""A fleet that started together must not ask together."""


class Watch(Fleet):
    """Asks the collector every so often, on a thread of its own in each process."""

    def __init__(self, new_asker: Callable[[], Asker], *, user_key: str | None = None) -> None:
        """Ask nothing yet."""
        super().__init__(user_key=user_key)
        self._new_asker = new_asker
        self._pid = 0
        """Of the process whose thread asks."""
        self._over = threading.Event()
        if hasattr(os, "register_at_fork"):
            here = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _forked(here))

    def begin(self) -> None:
        """Start the thread in this process, where it does not run."""
        if self._pid not in (0, os.getpid()):  # a fork that Python was not told of
            self.forked()
        with self._lock:
            if self._pid == os.getpid() or self._over.is_set():
                return
            self._pid = os.getpid()
            self._over = threading.Event()
        thread = threading.Thread(target=self._ask_for_ever, name="taximeter budgets", daemon=True)
        Variables().run(thread.start)  # of no request

    def stop(self) -> None:
        """Ask no more; nobody waits for the thread."""
        self._over.set()

    def check(
        self, levels: Sequence[Level], terms: Terms | None, resource: Mapping[str, Any]
    ) -> None:
        """Raise CostBudgetReached where a budget that is used up stops a call of these levels."""
        if self._pid != os.getpid():
            self.begin()
        super().check(levels, terms, resource)

    def forked(self) -> None:
        """In a forked child: the thread did not come along; the next call starts one."""
        self._lock, self._pid = threading.Lock(), 0

    def _ask_for_ever(self) -> None:
        mute()
        over, asker, etag = self._over, None, None
        while not over.is_set():
            try:
                asker = asker or self._new_asker()
                etag = self._take(asker.ask(etag))
            except Unanswered as failed:
                self.note(failed.kind, str(failed))
            except Exception as error:  # noqa: BLE001 - the thread must live
                self.note("fault", repr(error))
            over.wait(EVERY_S * random.uniform(1 - _JITTER, 1 + _JITTER))

    def _take(self, reply: Reply) -> str | None:
        """Keep an answer; return what to ask with next. Raises Unanswered."""
        if reply.age_s is None:
            raise Unanswered("unknown", "the collector knows of none: does `taximeter alerts` run?")
        true_at = time.monotonic() - reply.age_s
        if reply.body is None:
            self.kept = replace(self.kept, true_at=true_at)
        else:
            self.kept = Kept(_read(reply.body), since=true_at, true_at=true_at)
        if not self.kept.is_fresh():
            raise Unanswered(
                "stale", "the last evaluation is too old: does `taximeter alerts` run?"
            )
        self.well(self.kept.stops.left_out)
        return reply.etag


def _read(body: bytes) -> Stops:
    try:
        return read_stops(body)
    except ValueError as error:
        raise Unanswered("unreadable", f"the answer can't be read: {str(error)[:200]}") from None


def _forked(watch: weakref.ref[Watch]) -> None:
    if (here := watch()) is not None:
        here.forked()


def watch_for(
    wish: bool | str | None, endpoint: str | None, *, user_key: str | None = None
) -> Watch | None:
    """Return what ``init(budgets=…)`` or TAXIMETER_BUDGETS asks for, None where nothing.

    True: at the collector that the spans go to; a text: at that address. Raises ValueError.
    """
    if wish is None:
        wish = os.environ.get("TAXIMETER_BUDGETS", "").strip()
    if isinstance(wish, bool):
        wish = "1" if wish else ""
    elsewhere = _WORDS.get(wish.lower(), wish)
    if elsewhere is None:
        return None
    if elsewhere and not elsewhere.startswith(("http://", "https://")):
        raise ValueError(
            f"budgets={wish!r}: write 1, 0, or the collector's address, http://collector:4318"
        )
    url = budgets_url(endpoint, elsewhere or None)
    return Watch(lambda: Asker(url, is_elsewhere=bool(elsewhere)), user_key=user_key)
