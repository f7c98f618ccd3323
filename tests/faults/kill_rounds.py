"""kill -9 at random moments under load, again and again: acknowledged = stored, each once, roll-ups equal.

`python -m tests.faults.kill_rounds --rounds 100` sends from clients that repeat a request until it is acknowledged.
Checkpoints happen all the time (a threshold of 100 kB); every DAY_ROUNDS rounds the collector's clock moves on a
day, and the days before yesterday are deleted while it is killed again. What is reported was counted at the end of
each day, and the roll-ups are compared with a derivation from all spans (`/v1/verify`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from tests.faults.sending import SPANS, Process, Senders, request, stored_spans
from tests.patience import wait_until
from tests.telemetry import BEGINNING_NS

DAY_ROUNDS = 8
SETTLED_S = 10.0


@dataclass
class Result:
    """What came of the rounds."""

    kills: int = 0
    acknowledged_requests: int = 0
    acknowledged_spans: int = 0
    lost_spans: int = 0
    repeated_spans: int = 0
    partly_stored_requests: int = 0
    missing_in_roll_ups: int = 0
    differences: int = 0
    traces_verified: int = 0
    days_deleted: int = 0
    alarms: list[str] = field(default_factory=list)
    slowest_start_s: float = 0.0

    @property
    def is_right(self) -> bool:
        """Whether nothing was lost, repeated or derived wrongly."""
        wrong = self.lost_spans + self.repeated_spans + self.partly_stored_requests
        return not (wrong + self.missing_in_roll_ups + self.differences or self.alarms)


def run(data_dir: Path, rounds: int, seed: int, senders: int = 6, day_rounds: int = DAY_ROUNDS) -> Result:  # fmt: skip
    """Kill the collector ``rounds`` times and return what was counted."""
    random, result, moved = Random(seed), Result(), 0
    process = Process(
        data_dir,
        {
            "TAXIMETER_STORE_CHECKPOINT_THRESHOLD": "100KB",
            "TAXIMETER_STORE_RETENTION_DAYS": "1",
            "TAXIMETER_STORE_MIN_FREE_BYTES": "0",
        },
    )
    _start(process, result, moved)
    everything: set[int] = set()
    while result.kills < rounds:
        clients = Senders(process, senders, _numbered(moved), pause_s=0.005)
        for _ in range(min(day_rounds, rounds - result.kills)):
            _let_it_work(process, clients, random)
            process.kill()
            result.kills += 1
            print(f"kill {result.kills}: {len(clients.acknowledged)} acknowledged", flush=True)
            _start(process, result, moved)
        clients.finish()
        acknowledged = {trace + moved * 10**6 for trace in clients.acknowledged}
        everything |= acknowledged
        _count_spans(process, result, acknowledged)
        moved += 1
        process.kill()  # so that a day also begins with what a kill leaves behind
        _start(process, result, moved)
    _count_roll_ups(process, result, everything)
    result.days_deleted = moved + 1 - len(list(data_dir.glob("spans-*.duckdb")))
    result.alarms = [alarm["message"] for alarm in process.status()["store"]["alarms"]]
    process.stop()
    return result


def _let_it_work(process: Process, clients: Senders, random: Random) -> None:
    """Wait for some commits, every second time for roll-ups too, and then until any moment."""
    wanted = len(clients.acknowledged) + random.randrange(1, 40)
    wait_until(lambda: len(clients.acknowledged) >= wanted, "commits")
    if random.random() < 0.5:
        derived = process.status()["data_version"]
        wait_until(lambda: process.status()["data_version"] > derived, "roll-ups")
    time.sleep(random.uniform(0.0, 0.5))


def _numbered(day: int) -> Callable[[int, int], bytes]:
    return lambda sender, number: request(sender, day * 10**6 + number)


def _start(process: Process, result: Result, moved: int) -> None:
    process.environment["TAXIMETER_TEST_DAYS"] = str(moved)
    result.slowest_start_s = max(result.slowest_start_s, round(process.start(), 2))


def _count_spans(process: Process, result: Result, acknowledged: set[int]) -> None:
    stored = stored_spans(process)
    result.acknowledged_requests += len(acknowledged)
    result.acknowledged_spans += len(acknowledged) * SPANS
    for trace in acknowledged:
        result.lost_spans += SPANS - stored.get(trace, [0, 0])[1]
    for spans, distinct in stored.values():
        result.repeated_spans += spans - distinct
        result.partly_stored_requests += distinct != SPANS


def _count_roll_ups(process: Process, result: Result, acknowledged: set[int]) -> None:
    _wait_for_roll_ups(process)
    rows = process.query("select request_id, span_count from requests")
    requests = {int(trace, 16): spans for trace, spans in rows}
    result.missing_in_roll_ups = sum(requests.get(trace) != SPANS for trace in acknowledged)
    result.missing_in_roll_ups += len(rows) - len(requests)
    start = datetime.fromtimestamp(BEGINNING_NS / 1e9, UTC)
    window = {"from": start.isoformat(), "to": (start + timedelta(hours=2)).isoformat()}
    report = json.loads(process.ask("POST", "/v1/verify", json.dumps(window).encode())[1])
    result.differences = report["difference_count"] + len(report["failures"])
    result.traces_verified = report["traces"]


def _wait_for_roll_ups(process: Process) -> None:
    """Wait until the follower has nothing more to follow: `lag_s` knows only the real clock."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < SETTLED_S:
        derived = process.status()["data_version"]
        if derived != seen:
            seen, since = derived, time.monotonic()
        time.sleep(0.2)


def main() -> None:
    """Run the rounds in a fresh directory and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder) / "data", asked.rounds, asked.seed)
    print(json.dumps(asdict(result) | {"is_right": result.is_right}, indent=2))


if __name__ == "__main__":
    main()
