"""One collector, or one `taximeter repair`, a data directory: checked before anything is touched."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

FILE_NAME: Final = "collector.lock"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class StoreError(Exception):
    """The store can't be opened or written; the message says what to do."""


class UnusableStoreError(StoreError):
    """The data directory is in use, or not ours to write: another start would not help."""


class DirectoryLock:
    """Holds the directory until `close`. Raises UnusableStoreError, having changed nothing else."""

    def __init__(self, data_dir: Path) -> None:
        self._handle: int | None = None
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(data_dir / FILE_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            if error.errno in _FULL:  # DuckDB's own locks still hold, and reads can be served
                return
            raise UnusableStoreError(
                f"{data_dir} can't be written ({error.strerror}): make it a directory of this user's,"
                " or choose another with --data-dir"
            ) from None
        try:
            self._lock(data_dir)
            _check_files(data_dir)
        except UnusableStoreError:
            self.close()
            raise

    def close(self) -> None:
        """Let the directory go."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _lock(self, data_dir: Path) -> None:
        if sys.platform == "win32" or self._handle is None:
            return
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise in_use(data_dir) from None


def in_use(data_dir: Path) -> UnusableStoreError:
    """Return the error that says who else may have the directory."""
    return UnusableStoreError(
        f"{data_dir} is in use by another collector: stop it, or choose another directory with"
        " --data-dir"
    )


def _check_files(data_dir: Path) -> None:
    with suppress(FileNotFoundError):
        for file in sorted(data_dir.glob("*.duckdb*")):
            if not os.access(file, os.R_OK | os.W_OK):
                raise UnusableStoreError(
                    f"{file} belongs to another user or is read-only: give it to the user who runs"
                    " the collector (chown)"
                )
