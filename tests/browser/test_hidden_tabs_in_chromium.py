"""A tab that nobody sees asks for nothing, and catches up when it is seen again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from .conftest import Site, visiting
from .telemetry import Fleet, export, send

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
UNDER_WAY_MS = 4_000
"""A look that was under way has come in by then."""
HIDE = """hidden => {Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
    document.dispatchEvent(new Event('visibilitychange'))}"""


def test_nothing_is_asked_for_a_hidden_tab(browser: Browser, site: Site) -> None:
    with visiting(browser, site.dashboard) as visit:
        page = visit.open("/requests?range=1h")
        page.evaluate(HIDE, True)
        page.wait_for_timeout(UNDER_WAY_MS)
        started = datetime.now(UTC) - timedelta(seconds=2)
        spans = Fleet(int(started.timestamp())).request(started, name="unseen", loops=1)
        send(site.collector, export(spans))
        page.wait_for_timeout(3_000)
        assert page.get_by_text("unseen", exact=True).count() == 0
        page.evaluate(HIDE, False)
        page.get_by_text("unseen", exact=True).first.wait_for()


def test_the_tail_waits_while_it_is_paused_or_hidden(browser: Browser, site: Site) -> None:
    with visiting(browser, site.dashboard) as visit:
        page = visit.open("/live")
        looked = page.get_by_text("Newest first · looked at")
        looked.wait_for()

        def is_waiting() -> bool:
            page.wait_for_timeout(UNDER_WAY_MS)
            before = looked.inner_text()
            page.wait_for_timeout(3_000)
            return looked.inner_text() == before

        page.evaluate(HIDE, True)
        assert is_waiting()
        page.evaluate(HIDE, False)
        assert not is_waiting()
        page.get_by_text("Pause", exact=True).click()
        page.get_by_text("Paused at").wait_for()
        assert visit.complaints == []
