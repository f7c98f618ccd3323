"""The pages in a real browser over a real collector."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

import pytest

from taximeter_collector.explain.proof import shown
from taximeter_dashboard import format

from .conftest import Site, Visit, part, visiting
from .telemetry import HOSTILE, Fleet, export, send

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
HOSTILE_ID = "ba" * 16
A_AGENT = "/agents?agent=deep-research"
HOSTILE_AGENT = f"/agents?{urlencode({'agent': HOSTILE})}"
HOSTILE_SQL = (
    "select name, agent_name, session_id, 1 as one from requests where contains(name, 'onerror')"
)
EXPLORED = f"/explore?{urlencode({'sql': HOSTILE_SQL})}"
EVER = "start=2020-01-01T00:00Z&end=2100-01-01T00:00Z"
CONVERSATION = f"/request?id={HOSTILE_ID}&view=Conversation"
SPENT = f"/request?id={HOSTILE_ID}&view=Cost+over+time"
PAGES = ("/", "/requests", f"/request?id={HOSTILE_ID}", CONVERSATION, SPENT, "/agents", A_AGENT, "/costs", "/cache",
         "/errors?by=Agent", "/people?who=Users", EXPLORED, "/live", "/alerts", "/setup")  # fmt: skip


@pytest.fixture(
    scope="module",
    params=[(1440, "light"), (1024, "dark"), (390, "light")],
    ids=["wide", "mid", "narrow"],
)
def window(request: pytest.FixtureRequest, browser: Browser, site: Site) -> Iterator[Visit]:
    """One window in which page after page is opened: Streamlit's own code is loaded once."""
    width, scheme = request.param
    with visiting(browser, site.dashboard, width, scheme=scheme) as visit:
        yield visit


@pytest.mark.parametrize("path", PAGES)
def test_a_page_opens_without_an_error_fits_and_is_accessible(window: Visit, path: str) -> None:
    window.complaints.clear()
    window.open(path)
    assert window.overflow() <= 0
    assert window.violations() == []
    assert window.complaints == []
    assert window.page.locator("[data-testid=stException]").count() == 0


def test_headline_numbers_equal_sql(browser: Browser, site: Site) -> None:
    window = {"start": "2020-01-01T00:00Z", "end": "2100-01-01T00:00Z"}
    row = site.client.query(
        """select sum(cost_usd) / count(*) filter (cost_usd is not null) as cost,
            sum(loop_length) / count(*) as loops,
            count(*) filter (is_error) / count(*) as errors from requests"""
    ).to_pylist()[0]
    cache = site.client.query(
        """select sum(cache_read_tokens) / sum(uncached_input_tokens + cache_read_tokens
            + coalesce(cache_write_short_tokens, 0) + coalesce(cache_write_long_tokens, 0))
            as ratio from calls where is_billed and cache_reported"""
    ).to_pylist()[0]["ratio"]
    with visiting(browser, site.dashboard) as visit:
        page = visit.open(f"/?start={window['start']}&end={window['end']}")
        shown = {
            card.get_attribute("data-metric"): (card.locator(".v").inner_text().split("\n")[0])
            for card in page.locator(".k").all()
        }
    assert shown["cost_per_request_usd"].startswith(format.usd(row["cost"]))
    assert shown["loop_length_mean"].startswith(format.decimal(row["loops"]))
    assert shown["error_rate"].startswith(format.percent(row["errors"]))
    assert shown["cache_hit_ratio"].startswith(format.percent(cache))


@pytest.mark.parametrize(
    ("path", "metric", "sql"),
    [
        (f"/costs?{EVER}", "cost_usd", "select sum(cost_usd) from calls where is_billed"),
        (f"{A_AGENT}&{EVER}", "cost_per_request_usd",
         "select sum(cost_usd) / count(cost_usd) from requests where agent_name = 'deep-research'"),
        (f"/cache?{EVER}", "cache_saved_usd",
         "select sum(cache_saved_pico) / 1e12 from calls where is_billed"),
    ],
    ids=["costs", "agent", "cache"],
)  # fmt: skip
def test_a_pages_money_equals_sql(
    browser: Browser, site: Site, path: str, metric: str, sql: str
) -> None:
    (row,) = site.client.query(sql).to_pylist()
    with visiting(browser, site.dashboard) as visit:
        page = visit.open(path)
        shown = page.locator(f'.k[data-metric="{metric}"] .v').inner_text().split("\n")[0]
    assert shown.startswith(format.usd(*row.values()))


@pytest.mark.parametrize("window", [(1440, "light")], ids=["wide"], indirect=True)
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/requests?q=onerror",
        f"/request?id={HOSTILE_ID}",
        CONVERSATION,
        "/agents",
        HOSTILE_AGENT,
        "/costs",
        "/cache",
        "/errors?by=Type",
        "/people?q=onerror",
        EXPLORED,
        "/setup",
    ],
)
def test_hostile_text_stays_text(window: Visit, path: str) -> None:
    window.complaints.clear()
    page = window.open(path)
    page.get_by_text("<img src=x onerror=").filter(visible=True).first.wait_for()
    assert page.evaluate("window.pwned") is None
    assert page.locator('img[src="x"], a[href^="javascript"]').count() == 0
    assert window.complaints == []


def test_a_new_request_appears_without_a_reload(browser: Browser, site: Site) -> None:
    """How soon: bench/pages.py."""
    with visiting(browser, site.dashboard) as visit:
        page = visit.open("/requests?range=1h")
        started = datetime.now(UTC) - timedelta(seconds=2)
        spans = Fleet(int(started.timestamp())).request(started, name="fresh", loops=1)
        send(site.collector, export(spans))
        page.get_by_text("fresh", exact=True).first.wait_for()
        assert visit.complaints == []


def test_a_row_leads_to_its_request_and_back(browser: Browser, site: Site) -> None:
    with visiting(browser, site.dashboard) as visit:
        page = visit.open("/requests?sort=-loops&range=24h")
        page.locator("tbody tr").first.click()
        page.wait_for_url("**/request?*")
        page.locator(".wf .row").first.wait_for()
        page.get_by_role("link", name="← Requests").click()
        page.wait_for_url("**/requests*")
        page.locator("tbody tr").first.wait_for()
        assert visit.complaints == []


def test_from_spend_to_the_guilty_call_in_five_clicks(browser: Browser, site: Site) -> None:
    """As docs/tour.md walks: what changed, whose version, which tool, which request, which prompt."""
    with visiting(browser, site.dashboard) as visit:
        page = visit.open("/")
        page.get_by_role("link", name="Costs").click()
        page.get_by_text("Who made the change").wait_for()
        page.locator(".st-key-card-who a.main").first.click()
        page.get_by_text("Versions side by side").wait_for()
        page.wait_for_url("**/agents?*agent=*")  # the address is the view
        page.locator(".st-key-card-tools a.main").first.click()
        page.wait_for_url("**/requests?*tool=*")
        page.go_back()
        page.wait_for_url("**/agents?*agent=*")
        page.locator(".st-key-card-tools a.main").first.click()
        page.wait_for_url("**/requests?*tool=*")
        page.locator("tbody tr").first.click()
        page.wait_for_url("**/request?*")
        page.locator(".wf .row").nth(1).click()
        page.locator('.wf .row[data-i="1"][aria-selected="true"]').wait_for()


def test_a_failure_leads_to_the_requests_that_it_counts(browser: Browser, site: Site) -> None:
    (row,) = site.client.query(
        "select count(*) as failures, count(distinct trace_id) as requests from tool_calls"
        " where is_error and tool_name = 'sql_query'"
    ).to_pylist()
    with visiting(browser, site.dashboard) as visit:
        page = visit.open(f"/errors?by=Tool&{EVER}")
        found = page.locator("tbody tr[data-id='tool/sql_query']")
        assert found.locator("td").nth(2).inner_text() == format.exact(row["failures"])
        found.click()
        page.wait_for_url("**/requests?*failed=tool*")
        page.get_by_text("Only requests with a failed tool: tool sql_query").wait_for()
        page.get_by_text(f"{row['requests']} requests").first.wait_for()
        assert visit.complaints == []


def test_a_session_leads_to_its_requests(browser: Browser, site: Site) -> None:
    (row,) = site.client.query(
        "select session_id, count(*) as requests, sum(cost_usd) as usd from requests"
        " where session_id is not null group by all order by usd desc nulls last limit 1"
    ).to_pylist()
    with visiting(browser, site.dashboard) as visit:
        page = visit.open(f"/people?{EVER}")
        found = page.locator("tbody tr").first
        found.wait_for()
        assert found.get_attribute("data-id") == row["session_id"]
        assert found.locator("td.p2").inner_text() == format.usd(row["usd"])
        found.click()
        page.get_by_text(f"Only requests of session {row['session_id']}").wait_for()
        page.locator("tbody tr").first.wait_for()
        assert page.locator("tbody tr").count() == row["requests"]
        assert visit.complaints == []


def test_explore_runs_examples_and_says_what_is_wrong(browser: Browser, site: Site) -> None:
    with visiting(browser, site.dashboard) as visit:
        page = visit.open(
            f"/explore?{urlencode({'sql': 'select nowhere' + chr(10) + 'from calls'})}"
        )
        page.get_by_text("Line 1, column 8: ").wait_for()
        statement = page.locator(".st-key-sql textarea")
        statement.fill("drop table calls")
        statement.press("Control+Enter")
        page.get_by_text("Only one reading statement (SELECT) may be sent.").wait_for()
        page.get_by_text("Slowest tools", exact=True).click()
        page.get_by_text("p95_ms", exact=True).first.wait_for()
        page.wait_for_url("**/explore?*sql=select+tool_name*")
        statement.fill("select 2 as two")
        statement.blur()
        page.get_by_text("of an earlier statement").wait_for()
        page.get_by_text("p95_ms", exact=True).first.wait_for()
        assert visit.complaints == []


def test_an_export_of_hostile_text_holds_what_was_asked(browser: Browser, site: Site) -> None:
    sql = "select '=1+1' as text, count(*) as n from requests where contains(name, 'onerror')"
    (row,) = site.client.query(sql).to_pylist()
    with visiting(browser, site.dashboard) as visit:
        page = visit.open(f"/explore?{urlencode({'sql': sql})}")
        page.get_by_text("1 row in").wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="CSV").click()
        text = download.value.path().read_text(encoding="utf-8-sig")
    assert text.splitlines() == ["text,n", f"'=1+1,{row['n']}"]


def test_slash_goes_to_the_search_question_mark_to_the_help_and_tab_to_the_rows(
    browser: Browser, site: Site
) -> None:
    focused = """() => {let e = document.activeElement;
        while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement; return e?.tagName}"""
    with visiting(browser, site.dashboard) as visit:
        page = visit.open(f"/requests?{EVER}")
        page.locator("tbody tr").first.wait_for()
        page.keyboard.press("/")
        page.keyboard.type("on?error")
        page.wait_for_url("**/requests?*q=on%3Ferror*")
        page.get_by_label("Search").fill("")
        page.locator("tbody tr").nth(2).wait_for()
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate(focused) == "TR":
                break
        assert page.evaluate(focused) == "TR"
        page.keyboard.press("?")
        page.get_by_role("dialog").get_by_text("go to the search of the page").wait_for()
        assert visit.complaints == []


def test_sorting_and_status_live_in_the_address(browser: Browser, site: Site) -> None:
    with visiting(browser, site.dashboard) as visit:
        page = visit.open("/requests")
        page.get_by_role("button", name="Cost", exact=True).click()
        page.wait_for_url("**sort=-cost*")
        page.get_by_role("radio", name="Errors").click()
        page.wait_for_url("**status=Errors*")
        visit.settle()
        page.locator("tbody tr .dot").first.wait_for(state="detached")
        assert 0 < page.locator("tbody tr").count() <= 50
        assert page.locator("tbody tr").count() == page.locator("tbody tr .ei").count()


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_selected_call_is_proven(
    browser: Browser, site: Site, width: int, scheme: Literal["light", "dark"]
) -> None:
    (call,) = site.client.query(
        "select trace_id, span_id, cost_pico from calls where model like 'claude%'"
        " and cost_usd > 0 limit 1"
    ).to_pylist()
    with visiting(browser, site.dashboard, width, scheme=scheme) as visit:
        page = visit.open(f"/request?id={call['trace_id']}&span={call['span_id']}")
        page.get_by_role("tab", name="Proof").wait_for()
        arithmetic = page.locator("details.step", has_text="Arithmetic")
        cost = shown(int(call["cost_pico"]), "pico_usd")
        arithmetic.get_by_text(f"{cost}, equal to the stored cost").wait_for()
        assert arithmetic.locator("tr", has_text="total").locator("td").last.inner_text() == cost
        page.locator("summary", has_text="Raw usage").click()
        page.locator(".step pre", has_text="cache_read_input_tokens").wait_for()
        assert page.get_by_text("does not hold").count() == 0
        assert visit.overflow() <= 0
        assert visit.complaints == []


def test_a_proof_leads_to_the_span_that_it_names(browser: Browser, site: Site) -> None:
    (run,) = site.client.query(
        "select trace_id, span_id from agent_runs where loop_length > 1 limit 1"
    ).to_pylist()
    with visiting(browser, site.dashboard) as visit:
        page = visit.open(f"/request?id={run['trace_id']}&span={run['span_id']}")
        loop = page.locator("details.step", has_text="Loop length")
        loop.locator("a.it").nth(1).click()
        page.locator("details.step", has_text="Arithmetic").wait_for()
        page.locator('.wf .row[aria-selected="true"]').get_by_text("claude").or_(
            page.locator('.wf .row[aria-selected="true"]').get_by_text("gpt")
        ).wait_for()
        assert visit.complaints == []


def test_a_conversation_tells_each_turn_once_and_leads_to_its_span(
    browser: Browser, site: Site
) -> None:
    (found,) = site.client.query(
        "select request_id, model_calls from requests where model_calls > 3 and tool_calls > 2 limit 1"
    ).to_pylist()
    with visiting(browser, site.dashboard) as visit:
        page = visit.open(f"/request?id={found['request_id']}&view=Conversation")
        page.locator(".turn").first.wait_for()
        assert page.locator(".turn.user").count() == 1, "each call repeats the question"
        assert page.locator(".turn.assistant").count() == found["model_calls"]
        page.locator(".turn.assistant a.meta").nth(1).click()
        selected = page.locator('.wf .row[aria-selected="true"]')
        selected.get_by_text("claude").or_(selected.get_by_text("gpt")).wait_for()
        assert visit.complaints == []


def test_the_waterfall_walks_by_keyboard(browser: Browser, site: Site) -> None:
    with visiting(browser, site.dashboard) as visit:
        page = visit.open(f"/request?id={HOSTILE_ID}")
        page.locator(".wf .row").first.click()
        page.keyboard.press("ArrowDown")
        assert page.locator('.wf .row[aria-selected="true"]').get_attribute("data-i") == "1"


def test_an_empty_store_says_what_to_do(browser: Browser, empty_site: Site) -> None:
    with visiting(browser, empty_site.dashboard) as visit:
        for path in ("/", "/requests"):
            page = visit.open(path)
            page.get_by_text("Waiting for the first request").wait_for()
            page.get_by_text("taximeter demo").first.wait_for()
        assert visit.complaints == []


def test_a_collector_that_stops_is_said_and_found_again(browser: Browser, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with contextlib.ExitStack() as collector, part("dashboard", tmp_path) as dashboard:
        port = collector.enter_context(part("collector", tmp_path))
        send(f"http://127.0.0.1:{port}", export(Fleet().request(now - timedelta(minutes=3))))
        with visiting(browser, f"http://127.0.0.1:{dashboard}") as visit:
            page = visit.open("/requests")
            page.locator("tbody tr").first.wait_for()
            collector.close()
            page.get_by_text("No collector answers").first.wait_for()
            assert page.locator("tbody tr").count() == 1, "what was read stays"
            page = visit.open("/requests")
            page.get_by_text("No data to show").wait_for()
            page.get_by_role("button", name="Retry").wait_for()
            with part("collector", tmp_path):
                page.locator("tbody tr").first.wait_for()


def test_the_page_is_guarded_by_headers(browser: Browser, site: Site) -> None:
    with visiting(browser, site.dashboard) as visit:
        answer = visit.page.goto(site.dashboard)
        assert answer is not None
        policy = answer.headers["content-security-policy"]
    assert "script-src 'self' blob: 'sha256-" in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]
