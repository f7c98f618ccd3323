"""Many people on the pages at once, beside ingest: how long a page takes them, what each costs the dashboard, what ingest feels.

`python bench/viewers.py --viewers 20 --rate 2000 --pid PID` beside `taximeter up --demo` (its addresses by options). A viewer is
a session as a browser holds one (streamlit_client.py): people's browsers run on their own machines. Each reads 10 to 20 s,
then goes to another page, or one time in four changes the range of the one they are on; a page that redraws itself does so for them too.
Seconds are from the request to the end of its run on the dashboard. Resident memory of the dashboard is read after one viewer
saw every page, while all are there, and after they left. `--browser` makes one viewer more, a Chromium, told by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import random
import statistics
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from pages import FLAGS, PAGES, WINDOW
from playwright.async_api import async_playwright
from streamlit_client import RunFailed, Viewer
from traffic import request_body

READS_S = (10.0, 20.0)
CHANGES = 0.25
RANGES = ("range=1h", "range=24h", "range=7d")
REQUEST = 50
PATIENCE_S = 60.0
ALONE_S = 20
PATHS = {name: path.split("?")[0].strip("/") for name, (path, _) in PAGES.items()}
RANGED = [name for name, (path, _) in PAGES.items() if "range=" in path]


@dataclass
class Seen:
    """What the viewers saw."""

    pages_s: dict[str, list[float]] = field(default_factory=dict)
    changes_s: list[float] = field(default_factory=list)
    browser_s: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    redraws: int = 0
    received_bytes: int = 0
    there_mb: float = 0.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--rate", type=int, default=2_000, help="spans a second beside them")
    parser.add_argument("--url", default="http://127.0.0.1:8501")
    parser.add_argument("--collector", default="http://127.0.0.1:4318")
    parser.add_argument("--pid", type=int, required=True, help="the dashboard's process")
    parser.add_argument("--browser", action="store_true", help="a real browser among them")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    asked = parser.parse_args()
    asyncio.run(see_all(asked.url))
    before_mb = rss_mb(asked.pid)
    parts = {"dashboard": asked.pid, "collector": collector_pid(asked.collector)}
    cpu_s = process_s(parts["collector"])
    with Senders(asked.collector, asked.rate) as alone:
        time.sleep(ALONE_S)
    print(f"CPU of a core: collector alone {(process_s(parts['collector']) - cpu_s) / ALONE_S:.2f}")
    used_s = {name: process_s(pid) for name, pid in parts.items()}
    own_s, began = time.process_time(), time.monotonic()
    with Senders(asked.collector, asked.rate) as beside:
        seen = asyncio.run(visit(asked))
        took_s = time.monotonic() - began
    show("ingest alone, seconds to the acknowledgement", alone.waits_s)
    show("ingest beside them", beside.waits_s)
    show(
        f"{asked.viewers} viewers, seconds a page",
        [s for all_of in seen.pages_s.values() for s in all_of],
    )
    for name, seconds in seen.pages_s.items():
        print(f"  {name:18} p50 {statistics.median(seconds):.2f} worst {max(seconds):.2f} of {len(seconds)}")  # fmt: skip
    show("seconds a change of the range", seen.changes_s)
    show("seconds a page in the browser", seen.browser_s)
    print(f"{len(seen.failed)} failed {seen.failed[:3]}; {seen.redraws} redraws by themselves, "
          f"{seen.received_bytes / took_s / 1e6:.2f} MB/s to the viewers")  # fmt: skip
    used = ", ".join(
        f"{name} {(process_s(parts[name]) - s) / took_s:.2f}" for name, s in used_s.items()
    )
    print(f"CPU of a core: {used}, "
          f"viewers and senders {(time.process_time() - own_s) / took_s:.2f}")  # fmt: skip
    each = (seen.there_mb - before_mb) / asked.viewers
    print(f"dashboard: {before_mb:.0f} MB before, {seen.there_mb:.0f} MB with all, {each:.1f} MB a viewer, "
          f"{rss_mb(asked.pid):.0f} MB after")  # fmt: skip


def show(name: str, seconds: Sequence[float]) -> None:
    """Print one line."""
    if len(seconds) > 1:
        at = statistics.quantiles(seconds, n=100, method="inclusive")
        print(f"{name}: p50 {at[49]:.2f}, p95 {at[94]:.2f}, worst {max(seconds):.2f} of {len(seconds)}")  # fmt: skip


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def process_s(pid: int) -> float:
    """Return the processor time of a process."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def collector_pid(url: str) -> int:
    """Return the collector's process."""
    with urllib.request.urlopen(f"{url}/v1/status") as answer:
        return int(json.load(answer)["pid"])


async def see_all(url: str) -> None:
    """Visit each page once, so that what all sessions share is there."""
    async with Viewer.arriving(url) as viewer:
        await viewer.load("", "range=24h", PATIENCE_S)
        for path in PATHS.values():
            await viewer.go(path, PATIENCE_S)


async def visit(asked: argparse.Namespace) -> Seen:
    """Return what all viewers saw."""
    seen, ends = Seen(), time.monotonic() + asked.minutes * 60
    viewers = [view(asked.url, ends, seen) for _ in range(asked.viewers)]
    if asked.browser:
        viewers.append(browse(asked.url, ends, seen, asked.chromium))

    async def weigh() -> None:
        await asyncio.sleep(max(ends - time.monotonic() - 1, 0))
        seen.there_mb = rss_mb(asked.pid)

    await asyncio.gather(weigh(), *viewers)
    return seen


async def view(url: str, ends: float, seen: Seen) -> None:
    """Go from page to page until the time is over."""
    await asyncio.sleep(random.uniform(0, READS_S[1]))
    async with Viewer.arriving(url) as viewer:
        at, query = "Overview", "range=24h"
        try:
            seconds = await viewer.load("", query, PATIENCE_S)
        except (RunFailed, TimeoutError) as error:
            seen.failed.append(f"full load: {error!r}")
            return
        seen.pages_s.setdefault("full load", []).append(seconds)
        while time.monotonic() < ends:
            await asyncio.sleep(random.uniform(*READS_S))
            try:
                if at in RANGED and random.random() < CHANGES:
                    query = random.choice([other for other in RANGES if other != query])
                    seen.changes_s.append(await viewer.change(query, PATIENCE_S))
                else:
                    at = random.choice([name for name in PATHS if name != at])
                    seconds = await viewer.go(PATHS[at], PATIENCE_S)
                    seen.pages_s.setdefault(at, []).append(seconds)
            except (RunFailed, TimeoutError) as error:
                seen.failed.append(f"{at}: {error!r}")
        await asyncio.sleep(max(ends - time.monotonic(), 0))
        seen.redraws += viewer.redraws
        seen.received_bytes += viewer.received_bytes


async def browse(url: str, ends: float, seen: Seen, chromium: str) -> None:
    """The same in Chromium, by the menu, to the page's last element."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = await browser.new_page(viewport=WINDOW)
        page.set_default_timeout(PATIENCE_S * 1000)
        await page.goto(f"{url}/setup?range=24h")
        at = "Set-up"
        await page.locator(PAGES[at][1]).first.wait_for()
        while time.monotonic() < ends:
            await asyncio.sleep(random.uniform(*READS_S))
            at = random.choice([name for name in PAGES if name != at])
            started = time.monotonic()
            await page.get_by_role("link", name=at, exact=True).click()
            await page.locator(PAGES[at][1]).first.wait_for()
            seen.browser_s.append(time.monotonic() - started)
        await browser.close()


class Senders:
    """A fleet that sends at a fixed pace while the ``with`` lasts; waits count from when a request was due."""

    def __init__(self, collector: str, rate: int, connections: int = 40) -> None:
        self._where, self._rate = urlsplit(collector), rate
        self.waits_s: list[float] = []
        self._over, self._lock, self._number = threading.Event(), threading.Lock(), 0
        self._threads = [threading.Thread(target=self._send) for _ in range(connections)]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        connection = http.client.HTTPConnection(
            str(self._where.hostname), self._where.port, timeout=60
        )
        headers = {"Content-Type": "application/x-protobuf"}
        while not self._over.is_set():
            with self._lock:
                due = self._began + self._number * REQUEST / self._rate
                self._number += 1
            body = request_body(REQUEST)
            time.sleep(max(due - time.monotonic(), 0))
            connection.request("POST", "/v1/traces", body, headers)
            connection.getresponse().read()
            self.waits_s.append(time.monotonic() - due)


if __name__ == "__main__":
    main()
