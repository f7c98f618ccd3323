"""Pages in headless Chromium: seconds to the last element, beside an almost blank page of the same app.

`python bench/pages.py --url http://127.0.0.1:8501` against a running dashboard with data. Cold is a
fresh browser profile, warm the second visit of the same; median of the rounds. With ``--collector URL`` also the
seconds from a span's acknowledgement to its row on an open page.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import urllib.request

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from playwright.sync_api import Browser, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]  # fmt: skip
PAGES = {
    "almost blank (no such request)": (
        "/request?id=none",
        "text=/not in the store|No such|no request/i",
    ),
    "Overview, 7 days": ("/?range=7d", "text=Agents >> visible=true"),
    "Requests, 7 days": ("/requests?range=7d", "text=/of [0-9,]+/"),
    "Alerts": ("/alerts", "text=Rules >> visible=true"),
}


def visit(browser: Browser, url: str, last: str) -> tuple[float, float]:
    """Return seconds of a cold and of a warm visit."""
    context = browser.new_context(viewport={"width": 1440, "height": 1200})
    seconds = []
    for _ in range(2):
        page = context.new_page()
        started = time.perf_counter()
        page.goto(url)
        page.locator(last).first.wait_for(timeout=30_000)
        page.locator("[data-testid=stSkeleton]").first.wait_for(state="hidden")
        seconds.append(time.perf_counter() - started)
        page.close()
    context.close()
    return seconds[0], seconds[1]


def appearances(browser: Browser, url: str, collector: str, rounds: int) -> list[float]:
    """Return for each of ``rounds`` requests the seconds from its acknowledgement to its row."""
    page = browser.new_page(viewport={"width": 1440, "height": 1200})
    page.goto(f"{url}/requests?range=1h")
    page.locator("tbody tr").first.wait_for()
    seconds = []
    for at in range(rounds):
        name = f"fresh {os.getpid()}-{at}"
        urllib.request.urlopen(
            urllib.request.Request(
                f"{collector}/v1/traces", one_span(name), {"Content-Type": "application/x-protobuf"}
            )
        ).close()
        sent = time.perf_counter()
        page.get_by_text(name, exact=True).first.wait_for(timeout=60_000)
        seconds.append(time.perf_counter() - sent)
    page.close()
    return seconds


def one_span(name: str) -> bytes:
    """Return an export of a request that ended now."""
    message = ExportTraceServiceRequest()
    span = message.resource_spans.add().scope_spans.add().spans.add(name=name)
    span.trace_id, span.span_id = os.urandom(16), os.urandom(8)
    span.end_time_unix_nano = time.time_ns()
    span.start_time_unix_nano = span.end_time_unix_nano - 10**9
    return message.SerializeToString()


def main() -> None:
    """Visit every page in turn, round by round, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8501")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--collector", metavar="URL")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in PAGES}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=asked.chromium, args=FLAGS)
        for _ in range(asked.rounds):
            for name, (path, last) in PAGES.items():
                taken[name].append(visit(browser, asked.url + path, last))
        fresh = appearances(browser, asked.url, asked.collector, 20) if asked.collector else []
        browser.close()
    blank = statistics.median(cold for cold, _ in next(iter(taken.values())))
    for name, pairs in taken.items():
        cold = statistics.median(pair[0] for pair in pairs)
        warm = statistics.median(pair[1] for pair in pairs)
        print(f"{name:32} cold {cold:5.2f} s  warm {warm:5.2f} s  to blank {cold / blank:4.1f}")
    if fresh:
        print(
            f"a new request on an open page    p50 {statistics.median(fresh):.2f} s  max {max(fresh):.2f} s"
        )


if __name__ == "__main__":
    main()
