"""Many people on the pages at once, beside ingest: how long a page takes them, what each costs the dashboard, what ingest feels.

`python bench/viewers.py --viewers 20 --rate 2000` beside `taximeter up --demo` (its addresses by options). Each viewer has a
browser profile of its own, goes from page to page by the menu and reads 4 to 12 s between. Seconds are from the click to
the page's last element. Resident memory of the dashboard is read before they come, while all are there, and after they left.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import random
import statistics
import threading
import time
from collections.abc import Sequence
from typing import Self
from urllib.parse import urlsplit

from pages import FLAGS, PAGES, WINDOW
from playwright.async_api import Browser, async_playwright
from traffic import request_body

READS_S = (4.0, 12.0)
REQUEST = 50
PATIENCE_MS = 180_000
ALONE_S = 20
VISITED = [name for name in PAGES if name != "Live tail"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--rate", type=int, default=2_000, help="spans a second beside them")
    parser.add_argument("--url", default="http://127.0.0.1:8501")
    parser.add_argument("--collector", default="http://127.0.0.1:4318")
    parser.add_argument("--pid", type=int, required=True, help="the dashboard's process")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    asked = parser.parse_args()
    before = rss_mb(asked.pid)
    with Senders(asked.collector, asked.rate) as alone:
        time.sleep(ALONE_S)
    with Senders(asked.collector, asked.rate) as beside:
        took, there = asyncio.run(visit(asked))
    show("ingest alone, seconds to the acknowledgement", alone.waits_s)
    show("ingest beside them", beside.waits_s)
    show(f"{asked.viewers} viewers, seconds a page", took)
    each = (there - before) / asked.viewers
    print(f"dashboard: {before:.0f} MB before, {there:.0f} MB with all, {each:.1f} MB a viewer, "
          f"{rss_mb(asked.pid):.0f} MB after")  # fmt: skip


def show(name: str, seconds: Sequence[float]) -> None:
    """Print one line."""
    at = statistics.quantiles(seconds, n=100)
    print(f"{name}: p50 {at[49]:.2f}, p95 {at[94]:.2f}, worst {max(seconds):.2f} of {len(seconds)}")


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


async def visit(asked: argparse.Namespace) -> tuple[list[float], float]:
    """Return what each page took, and the dashboard's memory when all were there."""
    took: list[float] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=asked.chromium, args=FLAGS)
        ends = time.monotonic() + asked.minutes * 60
        viewers = [
            asyncio.create_task(view(browser, asked.url, ends, took)) for _ in range(asked.viewers)
        ]
        await asyncio.sleep(max(ends - time.monotonic() - 1, 0))
        there = rss_mb(asked.pid)
        await asyncio.gather(*viewers)
        await browser.close()
    return took, there


async def view(browser: Browser, url: str, ends: float, took: list[float]) -> None:
    """Go from page to page until the time is over."""
    await asyncio.sleep(random.uniform(0, READS_S[1]))
    context = await browser.new_context(viewport=WINDOW)
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    await page.goto(f"{url}/setup?range=24h")
    at = "Set-up"
    await page.locator(PAGES[at][1]).first.wait_for(timeout=PATIENCE_MS)
    while time.monotonic() < ends:
        await asyncio.sleep(random.uniform(*READS_S))
        at = random.choice([name for name in VISITED if name != at])
        started = time.monotonic()
        await page.get_by_role("link", name=at, exact=True).click()
        await page.locator(PAGES[at][1]).first.wait_for(timeout=PATIENCE_MS)
        await page.locator("[data-stale=true]").first.wait_for(
            state="detached", timeout=PATIENCE_MS
        )
        took.append(time.monotonic() - started)
    await context.close()


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
