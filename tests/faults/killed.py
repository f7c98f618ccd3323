"""A data directory as `kill -9` leaves it: COMMITS group commits, followed, all of them still in the logs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from tests.telemetry import body, chat

from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.store.store import Store

COMMITS = 12
SPANS_EACH = 20


def make(data_dir: Path) -> None:
    """Write the directory in a process that kills itself."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.faults.killed", str(data_dir)], check=False
    )
    assert child.returncode == -signal.SIGKILL


def request(commit: int) -> bytes:
    """Return the export request of a commit: SPANS_EACH traces of one call."""
    first = 1000 * (commit + 1)
    return body(chat(first + at, 1, response_id=f"r{first + at}") for at in range(SPANS_EACH))


def _main(data_dir: Path) -> None:
    store = Store(data_dir)
    with closing(Deriver(store, settle_s=0.01)) as rollups:
        ingest = Ingest(store, on_commit=rollups.notify)
        for commit in range(COMMITS):
            ingest.submit("traces", request(commit)).result(60)
        while rollups.data_version < COMMITS:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
