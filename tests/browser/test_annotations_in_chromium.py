"""Annotating the charts in a real browser: an editor adds and deletes, a viewer sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import httpx
import pytest
from tests.patience import wait_until

from taximeter_dashboard.charts import INK as INKS

from .conftest import Site, visiting
from .telemetry import HOSTILE
from .test_sign_in_in_chromium import guarded_parts, sign_in

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
TEXT = f"{HOSTILE} **bold** {{b}}"
INK = [int(INKS["annotation"][i : i + 2], 16) for i in (1, 3, 5)]
# How many of the page's charts have a pixel of this ink, of how many.
INKED = """ink => [...document.querySelectorAll('canvas')].map(canvas => {
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4)
        if (data[i + 3] > 200 && ink.every((value, j) => Math.abs(data[i + j] - value) < 6)) return true;
    return false;
})"""


@pytest.fixture(scope="module")
def parts(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The alerts API and the dashboard with tokens, over the same collector."""
    data_dir: Path = tmp_path_factory.mktemp("annotated")
    with guarded_parts(site, data_dir) as (alerts, dashboard):
        yield f"http://127.0.0.1:{alerts}/api/annotations", f"http://127.0.0.1:{dashboard}"


@pytest.fixture(autouse=True)
def nothing_annotated(parts: tuple[str, str]) -> None:
    """Take away what a test left that failed half-way."""
    for row in kept(parts[0]):
        httpx.delete(f"{parts[0]}/{row['id']}")


def kept(api: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = httpx.get(api).json()["annotations"]
    return rows


def inked(page: Page) -> set[bool]:
    """Return whether the charts have the annotations' ink: {True} if all have."""
    return set(page.evaluate(INKED, INK))


def happened(page: Page) -> str:
    return page.locator(".step summary").filter(has_text="in this window").inner_text()


@pytest.mark.parametrize(
    ("width", "scheme"), [(1440, "light"), (390, "dark")], ids=["wide", "narrow"]
)
def test_an_editor_annotates_and_takes_it_back(
    browser: Browser, parts: tuple[str, str], width: int, scheme: Literal["light", "dark"]
) -> None:
    api, dashboard = parts
    with visiting(browser, dashboard, width, scheme=scheme) as visit:
        page = visit.page
        page.goto(dashboard + "/errors")
        sign_in(page, "change")
        wait_until(lambda: inked(page) == {False}, "charts without a mark")
        page.get_by_role("button", name="Annotate").click()
        page.get_by_label("At (UTC)").fill("soon")
        page.get_by_label("Text").fill(TEXT)
        page.get_by_role("button", name="Add").click()
        page.get_by_text("not a time: 'soon'").wait_for()
        page.get_by_label("At (UTC)").fill("")
        page.get_by_label("Your name").fill("ann")
        page.get_by_role("button", name="Add").click()
        page.get_by_text("It is on the charts.").wait_for()
        visit.settle()
        assert [(row["text"], row["author"]) for row in kept(api)] == [(TEXT, "ann")]
        assert "1 annotation" in happened(page)
        wait_until(lambda: inked(page) == {True}, "a mark on every chart")
        visit.settle()
        assert visit.overflow() <= 0
        assert visit.violations() == []
        page.get_by_role("button", name="Delete").click()
        page.get_by_text("It is off the charts.").wait_for()
        assert kept(api) == []
        wait_until(lambda: inked(page) == {False}, "charts without a mark again")
        assert page.evaluate("window.pwned") is None
        assert page.locator('img[src="x"]').count() == 0
        assert visit.complaints == []


def test_a_viewer_sees_it_as_text_and_has_no_button(
    browser: Browser, parts: tuple[str, str]
) -> None:
    api, dashboard = parts
    id = httpx.post(api, json={"text": TEXT}).json()["id"]
    with visiting(browser, dashboard) as visit:
        page = visit.page
        page.goto(dashboard + "/errors")
        sign_in(page, "look")
        page.locator(".step summary").filter(has_text="1 annotation").click()
        page.get_by_text(TEXT).filter(visible=True).wait_for()
        assert page.get_by_role("button", name="Annotate").count() == 0
        assert page.evaluate("window.pwned") is None
        assert visit.complaints == []
    httpx.delete(f"{api}/{id}")
