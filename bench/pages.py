"""Pages in headless Chromium, beside a blank Streamlit page of the same run: full loads, changes of page and range, long requests.

`python bench/pages.py --url http://127.0.0.1:8501 --collector http://127.0.0.1:4318` against a running dashboard with
data. Cold is a fresh browser profile, warm the second visit of it; medians of the rounds. With the collector's address
also: requests of 2,000 and 20,000 spans, which are sent first, and the seconds until a new request's row is on an open page.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from playwright.sync_api import Browser, CDPSession, Page, ViewportSize, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]  # fmt: skip
WINDOW: ViewportSize = {"width": 1440, "height": 1200}
# Page -> its address and its last element.
PAGES = {
    "Overview": ("/?range=7d", ".st-key-agents .lt"),
    "Requests": ("/requests?range=7d", ".st-key-requests-table tbody tr"),
    "Agents": ("/agents?range=7d", ".st-key-chart-endings canvas"),
    "Costs": ("/costs?range=7d", ".st-key-title-unpriced .tl"),
    "Cache": ("/cache?range=7d", ".st-key-unknowable-list .it"),
    "Errors & tools": ("/errors?range=7d", ".st-key-tools-table .lt"),
    "Sessions & users": ("/people?range=7d", ".st-key-people-table .lt"),
    "Explore": ("/explore", ".st-key-views-list .it"),
    "Live tail": ("/live", ".stToggle, [data-testid=stCheckbox]"),
    "Alerts": ("/alerts", ".st-key-title-rules .tl"),
    "Set-up": ("/setup", ".st-key-title-prices .tl"),
}
SIZES = (2_000, 20_000)
_READY = '[data-testid="stApp"][data-test-script-state="notRunning"]'
# When the app last stopped running after an action: its own state, watched from before the action on.
_WATCH = """() => { const app = document.querySelector('[data-testid=stApp]'); window.__t = {start: performance.now(), ran: 0, done: 0};
    window.__o?.disconnect();
    window.__o = new MutationObserver(() => { const s = app.getAttribute('data-test-script-state');
        if (s === 'running') { window.__t.ran = performance.now(); window.__t.done = 0; }
        else if (window.__t.ran) requestAnimationFrame(() => requestAnimationFrame(() => { window.__t.done ||= performance.now(); })); });
    window.__o.observe(app, {attributes: true, attributeFilter: ['data-test-script-state']}); }"""
BLANK = "a blank Streamlit page"
# The pause is long enough for the app to be seen running.
_BLANK = """import time
import streamlit as st

def first():
    st.text("blank")

def other():
    time.sleep(0.05)
    st.text("other page")

pages = [st.Page(first, title="first", default=True), st.Page(other, title="other", url_path="other")]
st.navigation(pages).run()
"""
_SCROLL = """async (e) => { const gaps = []; let last = performance.now();
    for (let i = 0; i < 90; i++) { e.scrollTop += 180; await new Promise(requestAnimationFrame);
        const now = performance.now(); gaps.push(now - last); last = now; }
    return gaps.sort((a, b) => a - b); }"""


class Took(NamedTuple):
    """Seconds on the clock, and of the page's main thread."""

    wall_s: float
    cpu_s: float


def load(page: Page, url: str, last: str) -> float:
    """Return the seconds from the address to the last element."""
    started = time.perf_counter()
    page.goto(url)
    page.locator(last).first.wait_for(timeout=60_000)
    page.locator("[data-testid=stSkeleton]").first.wait_for(state="hidden")
    return time.perf_counter() - started


def visit(browser: Browser, url: str, last: str) -> tuple[float, float]:
    """Return seconds of a cold and of a warm visit."""
    context = browser.new_context(viewport=WINDOW)
    seconds = []
    for _ in range(2):
        page = context.new_page()
        seconds.append(load(page, url, last))
        page.close()
    context.close()
    return seconds[0], seconds[1]


def after(page: Page, act: Callable[[], None], last: str) -> Took:
    """Return what an action in the app takes until its run is over, painted and the element there."""
    page.wait_for_selector(_READY)
    page.wait_for_timeout(400)
    page.evaluate(_WATCH)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = _busy_s(session)
    act()
    took = page.wait_for_function(
        "() => window.__t.done && window.__t.done - window.__t.start", timeout=60_000
    )
    page.locator(last).first.wait_for(timeout=60_000)
    page.wait_for_timeout(400)  # what goes on after it, as an animation does
    cpu_s = _busy_s(session) - before
    session.detach()
    return Took(float(took.json_value()) / 1000, cpu_s)


def _busy_s(session: CDPSession) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))


def walk(browser: Browser, url: str, blank_url: str) -> dict[str, Took]:
    """Return what changes of page inside the app and of the range take, by name; the blank one first."""
    context = browser.new_context(viewport=WINDOW)
    page = context.new_page()
    load(page, blank_url, "text=blank")
    link = page.get_by_role("link", name="other", exact=True)
    seconds = {BLANK: after(page, link.click, "text=other page")}
    load(page, f"{url}/setup?range=24h", PAGES["Set-up"][1])
    for name, (_, last) in PAGES.items():
        if name in ("Set-up", "Live tail"):  # one is here, the other runs for ever
            continue
        link = page.get_by_role("link", name=name, exact=True)
        seconds[f"to {name}"] = after(page, link.click, last)
    for name in ("Requests", "Overview"):
        load(page, url + PAGES[name][0], PAGES[name][1])
        seconds[f"{name}, 7d to 24h"] = after(
            page, page.get_by_role("radio", name="24h").click, PAGES[name][1]
        )
    context.close()
    return seconds


@contextlib.contextmanager
def blank() -> Iterator[str]:
    """Serve a Streamlit app of two pages with a line of text each; yield its address."""
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        port = taken.getsockname()[1]
        taken.close()
        script = Path(directory) / "blank.py"
        script.write_text(_BLANK)
        command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port),
                   "--server.headless", "true", "--browser.gatherUsageStats", "false"]  # fmt: skip
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory
        )
        try:
            _await(f"http://127.0.0.1:{port}/_stcore/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def _await(url: str) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=2).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer")


def send(collector: str, message: ExportTraceServiceRequest) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    body = message.SerializeToString()
    urllib.request.urlopen(urllib.request.Request(f"{collector}/v1/traces", body, headers)).close()


def send_long(collector: str, size: int) -> str:
    """Send a request of ``size`` spans, model calls and tools under an agent; return its id."""
    trace_id, root = os.urandom(16), os.urandom(8)
    start = time.time_ns() - 600 * 10**9
    step = 590 * 10**9 // size
    for first in range(0, size, 1_000):
        message = ExportTraceServiceRequest()
        spans = message.resource_spans.add().scope_spans.add().spans
        for i in range(first, min(first + 1_000, size)):
            span = spans.add(trace_id=trace_id, span_id=root if i == 0 else os.urandom(8))
            if i:
                span.parent_span_id = root
            span.start_time_unix_nano = start + step * i
            span.end_time_unix_nano = start + (590 * 10**9 if i == 0 else step * (i + 1))
            _describe(span.attributes, i)
            span.name = f"bench {size:,}" if i == 0 else "step"
        send(collector, message)
    return trace_id.hex()


def _describe(attributes: object, i: int) -> None:
    values: dict[str, str | int] = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "bench"}  # fmt: skip
    if i % 2:
        values = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
                  "gen_ai.request.model": "gpt-5-mini", "gen_ai.usage.input_tokens": 900,
                  "gen_ai.usage.output_tokens": 60}  # fmt: skip
    elif i:
        values = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": f"tool-{i % 7}"}
    for key, value in values.items():
        entry = attributes.add(key=key)  # type: ignore[attr-defined]
        if isinstance(value, int):
            entry.value.int_value = value
        else:
            entry.value.string_value = value


def wait_stored(collector: str, request_id: str, size: int) -> None:
    """Wait until the roll-ups hold all spans of a request."""
    ask = {"sql": f"select span_count from requests where request_id = '{request_id}'"}
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    for _ in range(600):
        body = json.dumps(ask).encode()
        request = urllib.request.Request(f"{collector}/v1/query", body, headers)
        with urllib.request.urlopen(request) as response:
            if f"{size}" in response.read().decode():
                return
        time.sleep(0.1)
    raise RuntimeError(f"the request of {size} spans was not derived within a minute")


def appearances(browser: Browser, url: str, collector: str, rounds: int) -> list[float]:
    """Return for each of ``rounds`` requests the seconds from its acknowledgement to its row."""
    page = browser.new_page(viewport=WINDOW)
    page.goto(f"{url}/requests?range=1h")
    page.locator("tbody tr").first.wait_for()
    seconds = []
    for at in range(rounds):
        name = f"fresh {os.getpid()}-{at}"
        message = ExportTraceServiceRequest()
        span = message.resource_spans.add().scope_spans.add().spans.add(name=name)
        span.trace_id, span.span_id = os.urandom(16), os.urandom(8)
        span.end_time_unix_nano = time.time_ns()
        span.start_time_unix_nano = span.end_time_unix_nano - 10**9
        _describe(span.attributes, 1)
        send(collector, message)
        sent = time.perf_counter()
        page.get_by_text(name, exact=True).first.wait_for(timeout=60_000)
        seconds.append(time.perf_counter() - sent)
    page.close()
    return seconds


def main() -> None:
    """Visit every page in turn, round by round, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8501")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--collector", metavar="URL")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only-inside", action="store_true", help="no full loads")
    asked = parser.parse_args()
    pages = {name: (asked.url + path, last) for name, (path, last) in PAGES.items()}
    if asked.collector:
        for size in SIZES:
            request_id = send_long(asked.collector, size)
            wait_stored(asked.collector, request_id, size)
            pages[f"Request of {size:,} spans"] = (f"{asked.url}/request?id={request_id}", ".wf .row")  # fmt: skip
    with blank() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=asked.chromium, args=FLAGS)
        if not asked.only_inside:
            print_loads(browser, {BLANK: (address, "text=blank"), **pages}, asked.rounds)
        print_walks([walk(browser, asked.url, address) for _ in range(asked.rounds)])
        if asked.collector:
            for size in SIZES:
                print_scrolling(browser, pages[f"Request of {size:,} spans"][0], size)
            fresh = appearances(browser, asked.url, asked.collector, 20)
            print(f"a new request on an open page    p50 {statistics.median(fresh):.2f} s  max {max(fresh):.2f} s")  # fmt: skip
        browser.close()


def print_loads(browser: Browser, pages: dict[str, tuple[str, str]], rounds: int) -> None:
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in pages}
    for _ in range(rounds):
        for name, (url, last) in pages.items():
            taken[name].append(visit(browser, url, last))
    blank_s = statistics.median(cold for cold, _ in next(iter(taken.values())))
    for name, pairs in taken.items():
        cold, warm = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        print(f"{name:32} cold {cold:5.2f} s  warm {warm:5.2f} s  to blank {cold / blank_s:4.1f}")


def print_walks(walks: list[dict[str, Took]]) -> None:
    middle = {n: Took(*(statistics.median(w[n][i] for w in walks) for i in (0, 1))) for n in walks[0]}  # fmt: skip
    blank_s = middle[BLANK].wall_s
    for name, took in middle.items():
        print(f"{name:32} {took.wall_s * 1000:5.0f} ms  to blank {took.wall_s / blank_s:4.1f}"
              f"  CPU of the page {took.cpu_s * 1000:4.0f} ms")  # fmt: skip


def print_scrolling(browser: Browser, url: str, size: int) -> None:
    page = browser.new_page(viewport=WINDOW)
    load(page, url, ".wf .row")
    page.wait_for_selector(_READY)
    gaps = page.locator(".wf .vp").evaluate(_SCROLL)
    print(f"scrolling {size:,} spans            frame p50 {gaps[45]:.0f} ms  p95 {gaps[85]:.0f} ms")
    page.close()


if __name__ == "__main__":
    main()
