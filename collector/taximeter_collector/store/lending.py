"""Who uses the store's connection now, so that a file can be taken away and put back under them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import duckdb

READERS_WAIT_S: Final = 10.0


class Lending:
    """The cursors that are lent out; readers wait while a file is changed."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con
        self._lent: set[duckdb.DuckDBPyConnection] = set()
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a cursor for the length of the block."""
        cursor = self._con.cursor()
        with self._lock:
            self._lent.add(cursor)
        try:
            yield cursor
        finally:
            with self._lock:
                self._lent.discard(cursor)
            cursor.close()

    @contextmanager
    def reader(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a cursor inside a read-only transaction, once no file is being changed."""
        self._open.wait(READERS_WAIT_S)
        with self.cursor() as cursor:
            cursor.execute("begin transaction read only")
            try:
                yield cursor
            finally:
                with suppress(duckdb.Error):
                    cursor.execute("rollback")

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Let no new reader in."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def interrupt_others(self, own: duckdb.DuckDBPyConnection | None) -> None:
        """Stop what the other cursors run: a file that one of them uses can't be attached again."""
        with self._lock:
            for cursor in self._lent - {own}:
                with suppress(duckdb.Error):
                    cursor.interrupt()
        time.sleep(0.02)


def release(cursor: duckdb.DuckDBPyConnection) -> None:
    """Let go of the files of a cursor's last answer: one row of it that was not asked for holds them."""
    with suppress(duckdb.Error):
        cursor.execute("select 1").fetchall()


@contextmanager
def transaction(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit what is done inside, all or nothing."""
    cursor.execute("begin")
    try:
        yield
        cursor.execute("commit")
    except BaseException:
        with suppress(duckdb.Error):  # a failed commit has ended it already
            cursor.execute("rollback")
        raise
