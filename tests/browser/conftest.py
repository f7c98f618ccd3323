"""A real collector with a small fleet's history, a real dashboard, and Chromium."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from tests.patience import PATIENCE_S, wait_until

from taximeter.settings.ports import read_ports
from taximeter_collector.client import QueryError, ReadClient

from .telemetry import Fleet, export, hostile_request, send

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Site:
    """The running parts of one data dir."""

    collector: str
    dashboard: str
    client: ReadClient


@dataclass
class Visit:
    """A page in the browser with all that it complained about."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        self.page.goto(self.base + path)
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until the run is over, the last element is drawn and none is faded out as old."""
        ready = '[data-testid="stApp"][data-test-script-state="notRunning"]'
        self.page.wait_for_selector(f"{ready} .stMainBlockContainer", timeout=PATIENCE_S * 1000)
        for passing in ("[data-testid=stSkeleton]", "[data-stale=true]"):
            self.page.locator(passing).first.wait_for(state="detached")

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        width: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return width

    def violations(self) -> list[str]:
        """Return what axe finds serious, but for Streamlit's own list of pages and colours of code."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(
            self.page,
            context={"exclude": [["[data-testid=stSidebarNav]"], ["[data-testid=stCode]"]]},
            options={"resultTypes": ["violations"]},
        )
        return [
            f"{violation['id']}: {node['html'][:200]}"
            for violation in found.response["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without Chromium a machine skips these tests, the check of a commit does not."""
    if CHROMIUM.exists() or os.environ.get("CI", "").lower() == "true":
        return
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason=f"needs Chromium at {CHROMIUM}"))


def environment(data_dir: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TAXIMETER_")}
    free = dict.fromkeys(
        ("TAXIMETER_COLLECTOR_HTTP_PORT", "TAXIMETER_COLLECTOR_GRPC_PORT",
         "TAXIMETER_DASHBOARD_PORT", "TAXIMETER_ALERTS_PORT"), "0",
    )  # fmt: skip
    return {**kept, **free, "TAXIMETER_STORE_DATA_DIR": str(data_dir)}


@contextlib.contextmanager
def part(name: str, data_dir: Path, **variables: str) -> Iterator[int]:
    """Run one part of taximeter, with these in its environment; yield its HTTP port."""
    log = data_dir / f"{name}.log"
    data_dir.mkdir(parents=True, exist_ok=True)
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", f"taximeter_{name}"], env=environment(data_dir) | variables,
            cwd=data_dir, stdout=stream, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield _port(process, data_dir, name, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], data_dir: Path, name: str, log: Path) -> int:
    def entry() -> dict[str, Any]:
        return read_ports(data_dir).get(name, {})

    wait_until(lambda: entry().get("pid") == process.pid or process.poll() is not None, name)
    if process.poll() is not None:
        raise RuntimeError(f"{name} did not start:\n{log.read_text()}")
    return int(entry().get("http_port") or entry()["port"])


def stored_requests(client: ReadClient) -> int:
    try:
        return int(client.query("select count(*) as n from requests").to_pylist()[0]["n"])
    except QueryError:
        return 0


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A collector that holds 24 hours of a fleet and one hostile request, and its dashboard."""
    data_dir = tmp_path_factory.mktemp("taximeter")
    now = datetime.now(UTC)
    with part("collector", data_dir) as port:
        collector = f"http://127.0.0.1:{port}"
        fleet = Fleet()
        for body in fleet.history(now - timedelta(minutes=2), 22, 300):
            send(collector, body)
        send(collector, export(fleet.request(now - timedelta(minutes=9), loops=60)))
        send(collector, export(hostile_request(now - timedelta(minutes=5))))
        client = ReadClient(collector)
        wait_until(lambda: stored_requests(client) == 302)
        with part("dashboard", data_dir) as dashboard:
            yield Site(collector, f"http://127.0.0.1:{dashboard}", client)


@pytest.fixture(scope="session")
def empty_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A collector that has received nothing, and its dashboard."""
    data_dir = tmp_path_factory.mktemp("empty")
    with part("collector", data_dir) as port, part("dashboard", data_dir) as dashboard:
        collector = f"http://127.0.0.1:{port}"
        yield Site(collector, f"http://127.0.0.1:{dashboard}", ReadClient(collector))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium for one module: Playwright's event loop runs until it closes, and others need theirs."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield chromium
        chromium.close()


@contextlib.contextmanager
def visiting(
    browser: Browser, base: str, width: int = 1440, height: int = 900,
    scheme: Literal["light", "dark"] = "light",
) -> Iterator[Visit]:  # fmt: skip
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, timezone_id="UTC"
    )
    context.set_default_timeout(PATIENCE_S * 1000)
    visit = Visit(context.new_page(), base)
    visit.page.on(
        "console", lambda m: visit.complaints.append(m.text) if m.type == "error" else None
    )
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    try:
        yield visit
    finally:
        context.close()
