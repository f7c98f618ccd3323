"""`taximeter up` when nothing is sent: resident memory and CPU of each of its processes.

`python bench/idle.py` starts it on free ports and a fresh data directory, lets it settle, and prints what each process
took in 60 s. Memory is resident (RSS, pages that processes share counted in each) and proportional (PSS, counted once).
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from taximeter.settings.ports import read_ports

SETTLE_S = 60.0
PARTS = ("collector", "dashboard", "alerts")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print a line a process, and their sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        up = start(Path(folder))
        try:
            time.sleep(SETTLE_S)
            pids = tree(up.pid)
            began = {pid: cpu_s(pid) for pid in pids}
            time.sleep(asked.seconds)
            show(pids, began, asked.seconds)
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(60)


def start(data_dir: Path) -> subprocess.Popen[bytes]:
    """Start everything and wait until each part has its port."""
    free = {
        f"TAXIMETER_{name}_PORT": "0"
        for name in ("COLLECTOR_HTTP", "COLLECTOR_GRPC", "DASHBOARD", "ALERTS")
    }
    command = [sys.executable, "-m", "taximeter", "up", "--data-dir", str(data_dir)]
    up = subprocess.Popen(command, env=os.environ | free, stdout=subprocess.DEVNULL, cwd=data_dir)
    while not set(PARTS) <= read_ports(data_dir).keys():
        if up.poll() is not None:
            raise SystemExit("taximeter up ended")
        time.sleep(0.2)
    return up


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree(int(child))
    return found


def cpu_s(pid: int) -> float:
    """Return the CPU-seconds of a process until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def memory_mb(pid: int, kind: str) -> float:
    """Return ``Rss`` or ``Pss`` of a process in MB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.split(f"\n{kind}:")[1].split()[0]) / 1024


def show(pids: list[int], began: dict[int, float], seconds: float) -> None:
    """Print a line a process and the sum."""
    print(f"{'RSS MB':>8} {'PSS MB':>8} {'CPU %':>7}  process")
    sums = [0.0, 0.0, 0.0]
    for pid in pids:
        share = 100 * (cpu_s(pid) - began[pid]) / seconds
        taken = [memory_mb(pid, "Rss"), memory_mb(pid, "Pss"), share]
        sums = [a + b for a, b in zip(sums, taken, strict=True)]
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        print(
            f"{taken[0]:>8.0f} {taken[1]:>8.0f} {taken[2]:>7.2f}  {command.partition(' ')[2][:60]}"
        )
    print(f"{sums[0]:>8.0f} {sums[1]:>8.0f} {sums[2]:>7.2f}  all")


if __name__ == "__main__":
    main()
