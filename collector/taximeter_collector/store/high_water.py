"""How far each data file had come, written beside the files: a file that comes back behind it has lost rows.

A data file whose write-ahead log is missing opens without complaint, as it was at its last checkpoint.
The marks are written after each commit, without waiting for the disk: a power cut may leave them behind
the data, which says nothing, and never ahead of it.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE_NAME: Final = "high_water.json"
_ROOM: Final = 4096
"""The file grows in such steps: it is padded, so that a mark needs no space on a disk that is full."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The last commit in a file, and how many items (spans, log records, data points) it holds."""

    batch: int
    items: int = 0


class HighWater:
    """The marks by name of the data file."""

    def __init__(self, data_dir: Path) -> None:
        self._lock = threading.Lock()
        self._marks = read_marks(data_dir)
        self._handle: int | None = None
        with suppress(OSError):
            self._handle = os.open(data_dir / FILE_NAME, os.O_RDWR | os.O_CREAT, 0o600)

    def files(self) -> list[str]:
        """Return the names of the files that have a mark."""
        with self._lock:
            return sorted(self._marks)

    def of(self, file: str) -> Mark:
        """Return a file's mark; of an unknown file that of an empty one."""
        with self._lock:
            return self._marks.get(file, Mark(0))

    def set(self, file: str, mark: Mark) -> None:
        """Write a file's mark."""
        with self._lock:
            self._marks[file] = mark
            self._write()

    def forget(self, file: str) -> None:
        """Take out a file that was deleted, or set aside."""
        with self._lock:
            if self._marks.pop(file, None) is not None:
                self._write()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None

    def _write(self) -> None:
        if self._handle is None:
            return
        marks = {file: [mark.batch, mark.items] for file, mark in self._marks.items()}
        text = json.dumps(marks).encode()
        padded = text.ljust(-(-len(text) // _ROOM) * _ROOM) + b"\n"
        with suppress(OSError):
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, padded)


def read_marks(data_dir: Path) -> dict[str, Mark]:
    """Return the marks of a data directory; none if the file is missing or damaged."""
    try:
        marks = json.loads((data_dir / FILE_NAME).read_bytes().partition(b"\n")[0])
        return {str(file): Mark(int(batch), int(items)) for file, (batch, items) in marks.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
