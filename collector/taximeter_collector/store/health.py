"""Can the store take rows now? Low disk and failed writes refuse ingest, both until they are over.

A refusal is retryable (503, UNAVAILABLE). After a failed write a second passes before the next request is
let through: its commit is the test whether the store works again. Where none comes (a balancer sends nobody to a
collector that is not ready), a file is written as a test. Reads are never refused.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import duckdb

from taximeter_collector.store.directory_lock import StoreError
from taximeter_collector.store.incidents import Incidents

State = Literal["ok", "disk_low", "unwritable"]
LOOK_EVERY_S: Final = 0.5
PAUSE_S: Final = 1.0
TEST_BYTES: Final = 1 << 20
GIB: Final = 1 << 30
_DETACHED: Final = re.compile(
    r'schema "((?:day|facts)_\w+|rollup)" does not exist|database "(\w+)" does not exist'
)
_INVALIDATED: Final = re.compile(r'[Dd]atabase "(\w+)"(?:\. The database)? has been invalidated')


def is_store_fault(error: BaseException) -> bool:
    """Return whether the disk or the file failed, not the rows: sending them again may work."""
    if isinstance(error, duckdb.CatalogException):
        return _DETACHED.search(str(error)) is not None
    return isinstance(
        error,
        duckdb.IOException
        | duckdb.FatalException
        | duckdb.TransactionException
        | duckdb.InterruptException
        | StoreError
        | OSError,
    ) or is_damage(error)


def invalidated_file(error: BaseException) -> str | None:
    """Return the name of the attached file that DuckDB has given up.

    >>> text = 'Checkpoint failed for database "d". The database has been invalidated. Original error: …'
    >>> invalidated_file(OSError(text)), invalidated_file(OSError('Database "d" has been invalidated because'))
    ('d', 'd')
    """
    found = _INVALIDATED.search(str(error))
    return found[1] if found else None


def is_damage(error: BaseException) -> bool:
    """Return whether a block of a data file could not be read."""
    return "Corrupt database file" in str(error)


def is_being_reattached(error: BaseException) -> bool:
    """Return whether a reader met a file that DuckDB has given up and that comes back in a moment."""
    text = str(error)
    return bool(invalidated_file(error) or _DETACHED.search(text) or "Interrupted!" in text)


class Health:
    """The state of one data directory."""

    def __init__(
        self,
        data_dir: Path,
        min_free_bytes: int,
        incidents: Incidents,
        free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.min_free_bytes = min_free_bytes
        self._data_dir, self._incidents = data_dir, incidents
        self._free, self._clock = free, clock
        self._lock = threading.Lock()
        self._looked_at, self._is_low, self._free_bytes = -LOOK_EVERY_S, False, 0
        self._fault, self._try_at = "", 0.0

    @property
    def state(self) -> State:
        """The worst that holds now."""
        self._look()
        if self._fault:
            return "unwritable"
        return "disk_low" if self._is_low else "ok"

    @property
    def message(self) -> str:
        """What is wrong and what to do; empty when nothing is."""
        match self.state:
            case "unwritable":
                return f"The store can't be written, new telemetry is refused until it can: {self._fault}"
            case "disk_low":
                return (
                    f"Only {self._free_bytes:,} bytes are free on the disk of {self._data_dir}, less than"
                    f" store.min_free_bytes = {self.min_free_bytes:,}: new telemetry is refused until"
                    " there are more. Free some, or keep fewer days (store.retention_days)."
                )
            case _:
                return ""

    def refusal(self) -> tuple[State, str] | None:
        """Return why a request can't be taken now; None if it can be tried."""
        state = self.state
        if state == "ok" or (state == "unwritable" and self._clock() >= self._try_at):
            return None
        return state, self.message

    def failed(self, error: BaseException) -> None:
        """Say that rows could not be written."""
        with self._lock:
            was, self._fault = self._fault, f"{str(error).partition(chr(10))[0][:300]}."
            self._try_at = self._clock() + PAUSE_S
        if not was:
            self._incidents.report("store_unwritable", self._fault)

    def worked(self) -> None:
        """Say that rows were written."""
        if self._fault:
            with self._lock:
                self._fault = ""
            self._incidents.report("store_writable", "Telemetry is taken in again.")

    def try_again(self) -> None:
        """After a failed write, see whether the disk takes a file again."""
        if not self._fault or self._clock() < self._try_at:
            return
        try:
            with tempfile.TemporaryFile(dir=self._data_dir) as file:
                file.write(bytes(TEST_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.failed(error)
        else:
            self.worked()

    def as_dict(self) -> dict[str, Any]:
        """Return the state for /v1/status."""
        return {
            "state": self.state,
            "message": self.message,
            "free_bytes": self._free_bytes,
            "min_free_bytes": self.min_free_bytes,
        }

    def _look(self) -> None:
        with self._lock:
            now = self._clock()
            if now - self._looked_at < LOOK_EVERY_S:
                return
            self._looked_at = now
            try:
                self._free_bytes = self._free(self._data_dir)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    return
                self._free_bytes = 0
            was, self._is_low = self._is_low, self._free_bytes < self.min_free_bytes
        if self._is_low and not was:
            self._incidents.report(
                "disk_low",
                f"{self._free_bytes:,} bytes are free, less than store.min_free_bytes ="
                f" {self.min_free_bytes:,}: new telemetry is refused.",
                free_bytes=self._free_bytes,
            )
        elif was and not self._is_low:
            self._incidents.report("disk_ok", "Telemetry is taken in again.", free_bytes=self._free_bytes)  # fmt: skip
