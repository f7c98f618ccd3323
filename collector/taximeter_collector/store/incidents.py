"""Events worth waking for: one JSON line each on standard error, and those that cost data in a file.

`DATA_DIR/incidents.jsonl` keeps the latter until `taximeter repair` has told them to somebody.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, TextIO

Event = Literal[
    "wal_cut",  # a damaged write-ahead log was cut where it could not be read
    "wal_header_replaced",
    "file_set_aside",  # a damaged data file
    "file_behind",  # a file holds less than it did: its write-ahead log is gone, or an old copy came back
    "file_missing",
    "file_reattached",  # DuckDB had given it up, because a checkpoint failed
    "rollup_rebuilt",
    "block_damaged",  # a query, or the follower, met a part of a file that can't be read
    "store_unwritable",
    "store_writable",
    "disk_low",
    "disk_ok",
]
ALARMS: Final[frozenset[Event]] = frozenset(
    ["wal_cut", "wal_header_replaced", "file_set_aside", "file_behind", "file_missing", "rollup_rebuilt",
     "block_damaged"]
)  # fmt: skip
"""Events that stay in the status until `taximeter repair`: data is gone, or lies aside."""
FILE_NAME: Final = "incidents.jsonl"
_ACKNOWLEDGED: Final = "acknowledged"
_KEPT: Final = 50


class Incidents:
    """What happened to the store: the alarms that nobody has looked at, and the last events."""

    def __init__(self, data_dir: Path, out: TextIO | None = None) -> None:
        self._file, self._out = data_dir / FILE_NAME, out
        self._lock = threading.Lock()
        self._alarms = read_alarms(data_dir)
        self._recent: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    @property
    def alarms(self) -> list[dict[str, Any]]:
        """Events that cost data, the oldest first, since the last `acknowledge`."""
        with self._lock:
            return list(self._alarms)

    @property
    def recent(self) -> list[dict[str, Any]]:
        """The last events of this process, the oldest first."""
        with self._lock:
            return list(self._recent)

    def report(self, event: Event, message: str, **facts: object) -> None:
        """Say what happened; ``facts`` are values for JSON, such as the file's name."""
        incident = {"at": _now(), "event": event, "message": message, **facts}
        line = json.dumps(incident, ensure_ascii=False)
        with self._lock:
            self._recent.append(incident)
            if event in ALARMS:
                self._alarms.append(incident)
                self._append(line)
            with suppress(OSError):  # a log on a full disk is no reason to stop
                print(line, file=self._out or sys.stderr, flush=True)

    def acknowledge(self) -> None:
        """Let the alarms go: somebody has read them. They stay in the file."""
        with self._lock:
            if self._alarms:
                self._append(json.dumps({"at": _now(), "event": _ACKNOWLEDGED}))
                self._alarms = []

    def _append(self, line: str) -> None:
        with suppress(OSError), self._file.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def read_alarms(data_dir: Path) -> list[dict[str, Any]]:
    """Return the alarms of a data directory that were not acknowledged; a torn line is left out."""
    alarms: list[dict[str, Any]] = []
    with (
        suppress(OSError),
        (data_dir / FILE_NAME).open(encoding="utf-8", errors="replace") as lines,
    ):
        for line in lines:
            with suppress(ValueError):
                incident = json.loads(line)
                alarms = [] if incident.get("event") == _ACKNOWLEDGED else [*alarms, incident]
    return alarms


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
