"""POST /v1/backup and /v1/export: a directory is written beside the data and sent as a tar archive."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import duckdb

from taximeter.times import utc
from taximeter_collector.query.read_api import QueryFault
from taximeter_collector.store.store import Store
from taximeter_collector.transfer.manifest import NAME
from taximeter_collector.transfer.parquet import export_parquet
from taximeter_collector.transfer.snapshot import take_backup

_CHUNK: Final = 1 << 20
_PREFIX: Final = "sending-"


class Sender:
    """Sends one archive at a time."""

    def __init__(self, store: Store) -> None:
        self._store, self._one = store, threading.Lock()
        for left_over in store.data_dir.glob(f"{_PREFIX}*"):
            shutil.rmtree(left_over, ignore_errors=True)

    def backup(self, asked: Mapping[str, Any]) -> Iterator[bytes]:
        """Return the archive of a backup. Raises QueryFault."""
        return self._send(lambda folder: take_backup(self._store, folder))

    def export(self, asked: Mapping[str, Any]) -> Iterator[bytes]:
        """Return the archive of an export; ``since`` and ``until`` are times. Raises QueryFault."""
        since, until = (parse_time(asked.get(name)) for name in ("since", "until"))
        return self._send(lambda folder: export_parquet(self._store, folder, since, until))

    def _send(self, write: Callable[[Path], object]) -> Iterator[bytes]:
        if not self._one.acquire(blocking=False):
            raise QueryFault(503, "busy", "Another backup or export is being made: ask again.")
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._store.data_dir))
        try:
            write(folder)
        except (duckdb.Error, OSError) as error:
            self._done(folder)
            text = str(error).partition("\n")[0]
            raise QueryFault(500, "store", f"It can't be written: {text}") from None
        except BaseException:
            self._done(folder)
            raise
        pieces = self._archive(folder)
        next(pieces)  # begun, it ends properly also when the client goes before the first piece
        return pieces

    def _archive(self, folder: Path) -> Iterator[bytes]:
        try:
            yield b""
            yield from archive(folder)
        finally:
            self._done(folder)

    def _done(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._one.release()


def archive(folder: Path) -> Iterator[bytes]:
    """Return the files of ``folder`` as a tar archive, the manifest last."""
    files = [file for file in sorted(folder.iterdir()) if file.name != NAME]
    for file in [*files, folder / NAME]:
        member = tarfile.TarInfo(file.name)
        member.size, member.mode = file.stat().st_size, 0o600
        yield member.tobuf()
        with file.open("rb") as content:
            while chunk := content.read(_CHUNK):
                yield chunk
        yield bytes(-member.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def parse_time(text: Any) -> datetime | None:
    """Return a time in UTC, None for none. Raises QueryFault 400.

    >>> parse_time("2026-11-24").isoformat()
    '2026-11-24T00:00:00+00:00'
    """
    if not text:
        return None
    try:
        return utc(text)
    except ValueError:
        raise QueryFault(
            400, "request", f"{str(text)[:40]!r} is no time: write it like 2026-11-24T08:00."
        ) from None
