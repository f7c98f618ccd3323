"""Who gets in, as what: tokens, cookies, people, and the gate before the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from taximeter.settings.exposure import check_dashboard_exposure
from taximeter.settings.secret import Secret
from taximeter.settings.settings import SettingsError, load_settings
from taximeter_dashboard import frame, session
from taximeter_dashboard.alerts_api import Done, alerts_api_for
from taximeter_dashboard.sign_in import COOKIE, LASTS_S, Access, Role, access_of
from taximeter_dashboard.sign_in_page import SignIn
from taximeter_dashboard.sign_in_return import ReturnAfterSignIn

NOW = 1_790_000_000.0
ACCESS = Access({"viewer": Secret("look"), "editor": Secret("change")})


@pytest.mark.parametrize(
    ("token", "role"), [("look", "viewer"), ("change", "editor"), ("Look", None), ("", None)]
)
def test_a_token_gives_its_role(token: str, role: Role | None) -> None:
    assert ACCESS.role_of(token) == role


def test_a_cookie_is_good_for_its_time_and_its_token_only() -> None:
    cookie = ACCESS.sealed("viewer", NOW)
    assert ACCESS.opened(cookie, NOW + LASTS_S - 1) == "viewer"
    assert ACCESS.opened(cookie, NOW + LASTS_S) is None
    rotated = Access({"viewer": Secret("other"), "editor": Secret("change")})
    assert rotated.opened(cookie, NOW) is None


@pytest.mark.parametrize(
    "forge",
    [
        lambda cookie: cookie.replace("viewer", "editor"),
        lambda cookie: cookie.replace(".1", ".2", 1),
        lambda cookie: cookie[:-1] + ("0" if cookie[-1] != "0" else "1"),
        lambda cookie: cookie + ".x",
        lambda cookie: "viewer.soon.x",
        lambda cookie: "",
        lambda cookie: "nobody.9999999999.x",
        lambda cookie: cookie[:-1] + "é",
    ],
)
def test_a_forged_cookie_opens_nothing(forge: object) -> None:
    assert callable(forge)
    assert ACCESS.opened(forge(ACCESS.sealed("viewer", NOW)), NOW) is None


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"email": "Ann@example.org"}, "editor"),
        ({"email": "bob@example.org", "email_verified": True}, "viewer"),
        ({"email": "ann@example.org", "email_verified": False}, None),
        ({"email": "ann@example.org", "email_verified": "false"}, None),
        ({"email": "ann@example.org", "email_verified": "true"}, "editor"),
        ({"email": "ann@example.org.evil.test"}, None),
        ({}, None),
    ],
)
def test_people_have_the_role_of_their_verified_address(
    claims: dict[str, object], role: Role | None
) -> None:
    access = Access(people={"editor": ("ann@example.org",), "viewer": ("*@example.org",)})
    assert access.role_of_person(claims) == role


@pytest.mark.parametrize(
    ("content", "seen_by"),
    [("everyone", ["viewer", "editor"]), ("editors", ["editor"]), ("nobody", [])],
)
def test_content_is_seen_by_those_who_may(content: str, seen_by: list[Role]) -> None:
    settings = load_settings(environ={"TAXIMETER_DASHBOARD_CONTENT": content}).dashboard
    access = access_of(settings)
    roles: tuple[Role, ...] = ("viewer", "editor")
    assert [role for role in roles if access.may_see_content(role)] == seen_by


def test_a_page_without_a_sign_in_stays_on_this_machine(tmp_path: Path) -> None:
    environment = {"TAXIMETER_DASHBOARD_HOST": "0.0.0.0", "TAXIMETER_STORE_DATA_DIR": str(tmp_path)}
    with pytest.raises(SettingsError, match="set TAXIMETER_EDITOR_TOKEN or dashboard.oidc_file"):
        check_dashboard_exposure(load_settings(environ=environment))
    environment["TAXIMETER_EDITOR_TOKEN"] = "change"
    with pytest.raises(SettingsError, match="plain text: set collector.tls_cert_file"):
        check_dashboard_exposure(load_settings(environ=environment))
    environment["TAXIMETER_COLLECTOR_INSECURE"] = "true"
    check_dashboard_exposure(load_settings(environ=environment))
    environment["TAXIMETER_DASHBOARD_OIDC_FILE"] = str(tmp_path / "oidc.toml")
    with pytest.raises(SettingsError, match="exclude each other"):
        check_dashboard_exposure(load_settings(environ=environment))
    del environment["TAXIMETER_EDITOR_TOKEN"]
    with pytest.raises(SettingsError, match="nobody is named"):
        check_dashboard_exposure(load_settings(environ=environment))
    environment["TAXIMETER_DASHBOARD_VIEWERS"] = "*@example.org"
    check_dashboard_exposure(load_settings(environ=environment))


@pytest.mark.parametrize(
    ("other", "status"),
    [("a/b=1; ", 200), ('theme={"a": 1}; ', 200), (f'{COOKIE}="viewer.9999999999.é"; ', 200)],
)
def test_cookies_of_others_on_this_host_lock_nobody_out(
    client: TestClient, other: str, status: int
) -> None:
    def asked(cookies: str) -> int:
        header = (b"cookie", cookies.encode("latin-1"))
        return client.get("/costs", headers=[header]).status_code

    assert asked(f"{other}{COOKIE}={ACCESS.sealed('viewer', NOW)}") == status
    assert asked(other.rstrip("; ")) == 401


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


@pytest.fixture
def client() -> TestClient:
    names = ("/", "/costs", "/healthz", "/app/static/logo.svg", "/media/secret")
    routes = [Route(name, lambda request: PlainTextResponse("inside")) for name in names]
    inside = Starlette(routes=[*routes, WebSocketRoute("/_stcore/stream", socket)])
    return TestClient(
        SignIn(inside, ACCESS, is_tls=True, clock=lambda: NOW, delay_s=0), follow_redirects=False,
        base_url="https://page",
    )  # fmt: skip


PAGE = {"accept": "text/html,*/*"}


def test_nothing_but_health_and_fonts_is_told_to_a_stranger(client: TestClient) -> None:
    sent = client.get("/costs?range=7d", headers=PAGE)
    assert (sent.status_code, sent.headers["location"]) == (
        303, "/sign-in?next=%2Fcosts%3Frange%3D7d",
    )  # fmt: skip
    for path in ("/media/secret", "/app/static/../../media/secret"):
        assert client.get(path).status_code == 401
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("wss://page/_stcore/stream"):
        pass
    assert client.get("/healthz").text == client.get("/app/static/logo.svg").text == "inside"


def test_a_token_opens_the_page_that_was_asked_for(client: TestClient) -> None:
    assert 'value="/costs?a=1&amp;b=2"' in client.get("/sign-in?next=/costs?a=1%26b=2").text
    refused = client.post("/sign-in", data={"token": "wrong", "next": "/costs"})
    assert refused.status_code == 403 and "no token of this dashboard" in refused.text
    assert client.post("/sign-in", content=b"token=" + b"x" * 10_000).status_code == 403
    answer = client.post("/sign-in", data={"token": " look ", "next": "/costs"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/costs")
    assert {"HttpOnly", "SameSite=lax", "Secure"} <= set(answer.headers["set-cookie"].split("; "))
    assert ACCESS.opened(client.cookies[COOKIE], NOW) == "viewer"
    assert client.get("/costs").text == "inside"
    with client.websocket_connect("wss://page/_stcore/stream"):
        pass
    assert client.get("/sign-out").headers["location"] == "/sign-in"
    assert client.get("/costs").status_code == 401


@pytest.mark.parametrize(("scheme", "is_secure"), [("http", False), ("https", True)])
def test_behind_a_proxy_that_speaks_tls_the_cookie_stays_on_tls(
    scheme: str, is_secure: bool
) -> None:
    # uvicorn puts the scheme that a trusted proxy tells into the request's.
    page = SignIn(Starlette(), ACCESS, is_tls=False)
    answer = TestClient(page, base_url=f"{scheme}://page", follow_redirects=False).post(
        "/sign-in", data={"token": "look"}
    )
    assert ("Secure" in answer.headers["set-cookie"].split("; ")) is is_secure


@pytest.mark.parametrize(
    "elsewhere", ["//evil.test", "https://evil.test", "/%5Cevil", '/"><script>']
)
def test_the_form_leads_to_no_other_site(client: TestClient, elsewhere: str) -> None:
    assert "<script>" not in client.get("/sign-in", params={"next": elsewhere}).text
    answer = client.post("/sign-in", data={"token": "look", "next": elsewhere})
    assert answer.headers["location"].startswith("/")
    assert "evil" not in answer.headers["location"]


def test_a_part_that_draws_itself_again_ends_with_the_sign_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[Role | None] = ["viewer"]
    monkeypatch.setattr(session, "access", lambda: ACCESS)
    monkeypatch.setattr(session, "role", lambda: held[0])
    drawn: list[str] = []
    part = frame.guarded(drawn.append)
    part("tail")
    held[0] = None
    part("tail")
    assert drawn == ["tail"]


def test_who_may_only_look_changes_no_alert(tmp_path: Path) -> None:
    settings = load_settings(environ={"TAXIMETER_STORE_DATA_DIR": str(tmp_path)})
    api = alerts_api_for(settings, may_change=False)
    refused = Done({}, "You may look, and not change: sign in as an editor.")
    assert api.acknowledge("1", "me") == api.send_test("mail") == api.retry("1") == refused
    assert api.add_silence({}, "1h", "me", "") == api.end_silence("1") == refused
    assert api.snooze("1", "1h", "me") == refused


@pytest.mark.parametrize(
    ("left", "back"),
    [
        ("http://testserver/costs?range=7d&agent=a%20b", "/costs?range=7d&agent=a%20b"),
        ("http://testserver/", "/"),
        ("https://evil.test//evil.test/costs", "/first"),
        ("https://evil.test/auth/logout", "/first"),
        ("http://testserver/costs?q=" + "x" * 3_000, "/first"),
        ("", "/first"),
    ],
)
def test_after_the_provider_one_is_back_on_the_page_one_left(left: str, back: str) -> None:
    def redirect(request: Request) -> RedirectResponse:
        return RedirectResponse("/first")

    paths = ("/auth/login", "/oauth2callback")
    inner = Starlette(routes=[Route(path, redirect) for path in paths])
    client = TestClient(ReturnAfterSignIn(inner, ["", "costs"]), follow_redirects=False)
    client.get("/auth/login", headers={"referer": left})
    assert client.get("/oauth2callback").headers["location"] == back
    assert client.get("/oauth2callback").headers["location"] == "/first", "once"
