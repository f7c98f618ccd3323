"""Editing alerts.yaml in a real browser: a fault is shown, mended, saved, and the service judges by it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx
import pytest
from tests.patience import wait_until

from taximeter.settings.ports import read_ports

from .conftest import Site, visiting
from .telemetry import HOSTILE
from .test_sign_in_in_chromium import guarded_parts, sign_in

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
BEFORE = f"# {HOSTILE}\nversion: 1\nevery: 5s\n"
RULES = 'rules:\n  - {name: too-dear, watch: cost_usd, when: "above $5"}\n'
PICTURES = os.environ.get("RULES_PICTURES")
"""A folder: what the editor looks like is kept there."""


class Parts:
    """The alerts API and the dashboard with tokens, and the file that both are about."""

    def __init__(self, data_dir: Path, alerts: int, dashboard: int) -> None:
        self.file, self.dashboard = data_dir / "alerts.yaml", f"http://127.0.0.1:{dashboard}"
        self._api = f"http://127.0.0.1:{alerts}/api"

    def rules(self) -> list[str]:
        return [rule["name"] for rule in httpx.get(f"{self._api}/rules").json()["rules"]]

    def known(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self._api}/rules/file").json()["file"]
        return found

    @contextlib.contextmanager
    def alerts_stopped(self) -> Iterator[None]:
        pid = read_ports(self.file.parent)["alerts"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def begin_with(self, text: str) -> None:
        self.file.write_text(text, encoding="utf-8")
        wait_until(lambda: bool(self.known()["is_in_force"]), "the text in force")


@pytest.fixture(scope="module")
def parts(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    data_dir: Path = tmp_path_factory.mktemp("edited")
    (data_dir / "alerts.yaml").write_text(BEFORE, encoding="utf-8")
    with guarded_parts(site, data_dir) as (alerts, dashboard):
        yield Parts(data_dir, alerts, dashboard)


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.locator(".st-key-card-rules").screenshot(path=f"{PICTURES}/{name}.png")


@pytest.mark.parametrize(
    ("width", "scheme"),
    [(1440, "light"), (390, "dark")],
    ids=["wide-light", "narrow-dark"],
)
def test_a_fault_is_shown_mended_and_saved_and_the_service_goes_by_it(
    browser: Browser, parts: Parts, width: int, scheme: Literal["light", "dark"]
) -> None:
    parts.begin_with(BEFORE)
    name = f"{width}-{scheme}"
    with visiting(browser, parts.dashboard, width, scheme=scheme) as visit:
        page = visit.page
        page.goto(parts.dashboard + "/alerts")
        sign_in(page, "change")
        page.get_by_text("Edit alerts.yaml").click()
        text = page.get_by_label("alerts.yaml", exact=True)
        text.wait_for()
        assert text.input_value() == BEFORE
        text.fill(BEFORE + RULES.replace("cost_usd", "cost_us"))
        page.wait_for_timeout(6_000)  # the page draws itself again meanwhile
        assert "cost_us," in text.input_value()
        page.get_by_role("button", name="Check").click()
        page.get_by_text("5:29 rule too-dear: watch: unknown metric 'cost_us'").wait_for()
        visit.settle()
        picture(page, f"{name}-fault")
        assert (visit.overflow(), visit.violations()) == (0, [])
        if width > 390:  # there the list of pages is folded away
            page.get_by_role("link", name="Cache").click()
            page.get_by_role("heading", name="Cache").first.wait_for()
            page.get_by_role("link", name="Alerts").click()
            visit.settle()  # what is left of the page before can be clicked until then
            page.get_by_text("Edit alerts.yaml").click()
            text.last.wait_for()
            visit.settle()
            assert text.count() == 1 and "cost_us," in text.input_value()
        text.fill(BEFORE + RULES)
        page.get_by_label("Your name").last.fill("ann")
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Saved. The alerts service takes it up").wait_for()
        assert parts.file.read_text(encoding="utf-8") == BEFORE + RULES
        wait_until(lambda: "too-dear" in parts.rules(), "the new rule")
        page.get_by_text("Too dear").filter(visible=True).first.wait_for()
        page.get_by_text("saved by ann").first.wait_for()
        parts.begin_with(BEFORE + RULES.replace("$5", "$7"))
        text.fill(BEFORE + RULES.replace("$5", "$9"))
        page.get_by_role("button", name="Save").click()
        page.get_by_text("The file has changed since you began").wait_for()
        visit.settle()
        picture(page, f"{name}-conflict")
        assert (visit.overflow(), visit.violations()) == (0, [])
        page.get_by_role("button", name="Keep mine").click()
        page.get_by_text("The file has changed since you began").wait_for(state="detached")
        page.get_by_role("button", name="Save").click()
        wait_until(lambda: "$9" in parts.file.read_text(encoding="utf-8"), "the text saved")
        page.get_by_role("button", name="Try on the last 7 days").click()
        page.get_by_text("the edited text, in 7 days").wait_for()
        assert page.evaluate("window.pwned") is None
        assert page.locator('img[src="x"]').count() == 0
        assert visit.complaints == []


def test_a_viewer_reads_the_text_and_has_no_button(browser: Browser, parts: Parts) -> None:
    parts.begin_with(BEFORE + RULES)
    with visiting(browser, parts.dashboard) as visit:
        page = visit.page
        page.goto(parts.dashboard + "/alerts")
        sign_in(page, "look")
        page.get_by_text("Show alerts.yaml").click()
        page.get_by_text("too-dear").filter(visible=True).first.wait_for()
        visit.settle()
        picture(page, "viewer")
        assert page.get_by_role("button", name="Save").count() == 0
        assert page.locator("textarea").count() == 0
        assert (visit.overflow(), visit.violations()) == (0, [])
        assert page.evaluate("window.pwned") is None
        assert visit.complaints == []


def test_a_text_stays_while_the_alerts_service_is_down(browser: Browser, parts: Parts) -> None:
    parts.begin_with(BEFORE)
    with visiting(browser, parts.dashboard) as visit:
        page = visit.page
        page.goto(parts.dashboard + "/alerts")
        sign_in(page, "change")
        page.get_by_text("Edit alerts.yaml").click()
        text = page.get_by_label("alerts.yaml", exact=True)
        text.fill(BEFORE + "# half a thou")
        with parts.alerts_stopped():
            page.get_by_text("The alerts service does not answer").wait_for()
            text.press_sequentially("ght")
        page.get_by_text("The alerts service does not answer").wait_for(state="detached")
        visit.settle()
        assert text.input_value() == BEFORE + "# half a thought"


def test_a_text_that_cannot_be_saved_there_is_downloaded(browser: Browser, parts: Parts) -> None:
    parts.begin_with(BEFORE)
    parts.file.chmod(0o444)
    try:
        with visiting(browser, parts.dashboard, 390) as visit:
            page = visit.page
            page.goto(parts.dashboard + "/alerts")
            sign_in(page, "change")
            page.get_by_text("Edit alerts.yaml").click()
            page.get_by_text("is read-only. Copy or download the text").wait_for()
            assert page.get_by_role("button", name="Save").count() == 0
            text = page.get_by_label("alerts.yaml", exact=True)
            text.fill(BEFORE + RULES)
            text.blur()
            visit.settle()
            with page.expect_download() as taken:
                page.get_by_role("button", name="Download").click()
            assert taken.value.path().read_text(encoding="utf-8") == BEFORE + RULES
            assert taken.value.suggested_filename == "alerts.yaml"
            picture(page, "read-only")
            assert (visit.overflow(), visit.violations()) == (0, [])
            assert visit.complaints == []
    finally:
        parts.file.chmod(0o644)
