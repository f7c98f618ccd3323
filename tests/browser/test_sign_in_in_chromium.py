"""Signing in by token and at an identity provider in a real browser, and what each role is shown."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import Site, part, visiting
from .provider import CLIENT, Provider
from .test_pages_in_chromium import HOSTILE_ID

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
REQUEST = f"/request?id={HOSTILE_ID}"


def tokens_of(site: Site) -> dict[str, str]:
    """Return what makes a part ask for tokens, beside the site's collector."""
    return {
        "TAXIMETER_VIEWER_TOKEN": "look",
        "TAXIMETER_EDITOR_TOKEN": "change",
        "TAXIMETER_COLLECTOR_HTTP_PORT": site.collector.rpartition(":")[2],
    }


@contextmanager
def guarded_parts(site: Site, data_dir: Path) -> Iterator[tuple[int, int]]:
    """Run the alerts and a dashboard that asks for tokens over the site's collector; yield their ports."""
    variables = tokens_of(site)
    with (
        part("alerts", data_dir, **variables) as alerts,
        part("dashboard", data_dir, **variables) as dashboard,
    ):
        yield alerts, dashboard


@pytest.fixture(scope="module")
def guarded(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard of the same collector, with tokens, and content for editors only."""
    data_dir: Path = tmp_path_factory.mktemp("guarded")
    variables = {**tokens_of(site), "TAXIMETER_DASHBOARD_CONTENT": "editors"}
    with part("dashboard", data_dir, **variables) as port:
        yield f"http://127.0.0.1:{port}"


def sign_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def test_a_viewer_sees_the_pages_but_no_content_and_signs_out(
    browser: Browser, guarded: str
) -> None:
    with visiting(browser, guarded) as visit:
        page = visit.page
        page.goto(guarded + REQUEST)
        assert visit.violations() == []
        sign_in(page, "look")
        page.wait_for_url(f"**{REQUEST}")
        page.locator(".wf .row").first.wait_for()
        page.get_by_role("tab", name="Input").click()
        page.get_by_text("is not shown to you").filter(visible=True).wait_for()
        page.get_by_text("as viewer").wait_for()
        assert page.get_by_role("link", name="Explore").count() == 0
        assert visit.complaints == []
        page.goto(guarded + "/explore?sql=select+1")
        page.get_by_text("Page not found").wait_for()
        visit.settle()
        assert page.locator("textarea").count() == 0
        visit.open("/setup")
        page.get_by_role("link", name="Sign out").click()
        page.get_by_label("Token").wait_for()
        page.goto(guarded + "/")
        page.get_by_label("Token").wait_for()


def test_an_editor_sees_content_and_a_wrong_token_nothing(browser: Browser, guarded: str) -> None:
    with visiting(browser, guarded, scheme="dark") as visit:
        page = visit.page
        page.goto(guarded + REQUEST)
        assert visit.violations() == []
        sign_in(page, "guess")
        page.get_by_text("This is no token of this dashboard.").wait_for()
        sign_in(page, "change")
        page.wait_for_url(f"**{REQUEST}")
        page.get_by_text("as editor").wait_for()
        page.get_by_role("link", name="Explore").wait_for()
        page.get_by_role("tab", name="Attributes").click()
        page.locator(".wf .row").first.wait_for()
        assert page.get_by_text("is not shown to you").count() == 0


@pytest.fixture(scope="module")
def provided(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard of the same collector, for people of example.org, and a provider beside it."""
    data_dir: Path = tmp_path_factory.mktemp("provided")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as provider:
        threading.Thread(target=provider.serve_forever, daemon=True).start()
        (data_dir / "oidc.toml").write_text(f"""[auth]
redirect_uri = "http://127.0.0.1:{port}/oauth2callback"
cookie_secret = "{"0123456789abcdef" * 4}"
client_id = "{CLIENT}"
client_secret = "secret"
server_metadata_url = "http://127.0.0.1:{provider.server_address[1]}/.well-known/openid-configuration"
""")
        variables = {
            "TAXIMETER_DASHBOARD_PORT": str(port),
            "TAXIMETER_DASHBOARD_OIDC_FILE": str(data_dir / "oidc.toml"),
            "TAXIMETER_DASHBOARD_VIEWERS": "*@example.org",
            "TAXIMETER_DASHBOARD_EDITORS": "ann@example.org",
            "TAXIMETER_COLLECTOR_HTTP_PORT": site.collector.rpartition(":")[2],
        }
        with part("dashboard", data_dir, **variables):
            yield f"http://127.0.0.1:{port}"
        provider.shutdown()


@pytest.mark.parametrize(
    ("email", "shown"),
    [("ann@example.org", "ann@example.org as editor"), ("bob@example.org", "bob@example.org as viewer"),
     ("eve@evil.test", "eve@evil.test is not among those who may see this dashboard.")],
)  # fmt: skip
def test_people_of_the_provider_get_their_role(
    browser: Browser, provided: str, email: str, shown: str
) -> None:
    Provider.claims = {"email": email, "email_verified": True}
    with visiting(browser, provided) as visit:
        page = visit.page
        page.goto(f"{provided}/requests?range=7d&sort=-cost")
        page.get_by_role("button", name="Sign in").wait_for()
        assert page.get_by_role("link", name="Costs").count() == 0
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text(shown).wait_for()
        page.wait_for_url("**/requests?*range=7d*")
        assert "sort=-cost" in page.url
        assert page.get_by_role("link", name="Costs").count() == ("evil" not in email)
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("button", name="Sign in").wait_for()
