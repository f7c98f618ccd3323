"""The same question of several threads at a time is asked once: all get the one answer, or the one error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class AskingOnce(Generic[K, V]):
    """Lets the first who comes with a question ask it; who comes meanwhile waits for that answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[K, Future[V]] = {}

    def answer(self, key: K, ask: Callable[[], V]) -> V:
        """Return what `ask` returns. Raises what it raises."""
        with self._lock:
            waited_for = self._open.get(key)
            if waited_for is None:
                mine = self._open[key] = Future[V]()
        if waited_for is not None:
            return waited_for.result()
        try:
            mine.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - raised below, and where others wait
            mine.set_exception(error)
        finally:
            with self._lock:
                del self._open[key]
        return mine.result()
