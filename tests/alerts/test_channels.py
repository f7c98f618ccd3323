"""Each channel over a real socket: what arrives, what a repeat does, and what is never sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from tests.alerts.fake_http import FakeHttp, FakeSlack

from taximeter.settings.secret import Secret
from taximeter_alerts.notifiers.apprise import Apprise
from taximeter_alerts.notifiers.pagerduty import PagerDuty, pagerduty_event
from taximeter_alerts.notifiers.slack import SlackBot, SlackWebhook, slack_message
from taximeter_alerts.notifiers.teams import Teams, teams_message
from taximeter_alerts.notifiers.web import MOST_BYTES, Web
from taximeter_alerts.notifiers.webhook import Webhook, signature
from taximeter_alerts.outbox.delivery import Delivery, NotificationError
from taximeter_alerts.outbox.notice import Example, Notice

HERE = Web([ip_network("127.0.0.0/8")])
FIRING = Notice(
    kind="firing",
    incident="i1",
    rule="cost-per-request",
    severity="warning",
    title="cost per request and 1 more, support",
    sentence="support: cost per request $0.42 <!channel> & [more](http://evil.example).",
    link="http://127.0.0.1:8501/requests?agent=support",
    started="2026-11-20 14:05 UTC",
    also=("support: loop length 31.",),
    labels={"agent_name": "support"},
    at="2026-11-20T14:07:00.000000Z",
)
RESOLVED = replace(FIRING, kind="resolved", sentence="It is over.", also=())


@pytest.fixture
def http() -> Iterator[FakeHttp]:
    fake = FakeHttp()
    yield fake
    fake.close()


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    fake = FakeSlack()
    yield fake
    fake.close()


def bot_of(slack: FakeSlack) -> SlackBot:
    return SlackBot(HERE, Secret("xoxb-SECRET"), "C0123ABCD", f"{slack.url}/api")


def test_a_slack_bot_answers_in_the_thread_and_updates_the_first_message(slack: FakeSlack) -> None:
    bot = bot_of(slack)
    thread = bot.send(FIRING, Delivery("k1"))
    assert bot.send(RESOLVED, Delivery("k2", thread)) is None
    first, second = slack.messages
    assert (second["thread_ts"], "thread_ts" in first) == (thread, False)
    assert first["text"].startswith("✅ Resolved") and second["text"].startswith("✅ Resolved")
    assert [m["metadata"]["event_payload"] for m in slack.messages] == [
        {"key": "k1"},
        {"key": "k2"},
    ]


def test_a_slack_bot_asks_before_it_sends_again(slack: FakeSlack) -> None:
    bot = bot_of(slack)
    slack.is_lost = True
    with pytest.raises(NotificationError):
        bot.send(FIRING, Delivery("k1"))
    slack.is_lost = False
    thread = bot.send(FIRING, Delivery("k1", is_possible_repeat=True))
    assert (len(slack.messages), thread) == (1, slack.messages[0]["ts"])
    for _ in range(2):
        bot.send(RESOLVED, Delivery("k2", thread, is_possible_repeat=True))
    assert len(slack.messages) == 2
    assert not any("possible repeat" in message["text"] for message in slack.messages)


def test_a_slack_bot_that_may_not_read_says_possible_repeat(slack: FakeSlack) -> None:
    slack.errors = {"conversations.history": "missing_scope"}
    bot_of(slack).send(FIRING, Delivery("k1", is_possible_repeat=True))
    assert "(possible repeat)" in slack.messages[0]["text"]


def test_a_first_message_that_is_gone_does_not_keep_resolved_back(slack: FakeSlack) -> None:
    bot = bot_of(slack)
    thread = bot.send(FIRING, Delivery("k1"))
    slack.errors = {"chat.update": "message_not_found"}
    bot.send(RESOLVED, Delivery("k2", thread))
    assert len(slack.messages) == 2


@pytest.mark.parametrize(
    ("error", "is_permanent"), [("invalid_auth", True), ("ratelimited", False), ("x y", True)]
)
def test_what_slacks_api_answers_decides(slack: FakeSlack, error: str, is_permanent: bool) -> None:
    slack.errors = {"chat.postMessage": error}
    with pytest.raises(NotificationError) as caught:
        bot_of(slack).send(FIRING, Delivery("k1"))
    assert caught.value.is_permanent is is_permanent
    assert "SECRET" not in str(caught.value) and "x y" not in str(caught.value)


def test_a_webhook_is_signed_and_says_its_key_on_every_try(http: FakeHttp) -> None:
    hook = Webhook(HERE, Secret(f"{http.url}/in?token=t"), Secret("whsec_c2VjcmV0"), lambda: 1000.0)
    for _ in range(2):
        hook.send(FIRING, Delivery("i1:firing:1:ops"))
    (path, headers, body), (_, again, _) = http.requests
    assert path == "/in?token=t"
    assert headers["idempotency-key"] == headers["webhook-id"] == again["idempotency-key"]
    signed = b"i1:firing:1:ops.1000." + body
    digest = base64.b64encode(hmac.new(b"secret", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert json.loads(body) == {
        "version": 1,
        "id": "i1:firing:1:ops",
        "kind": "firing",
        "incident": "i1",
        "rule": "cost-per-request",
        "severity": "warning",
        "title": "cost per request and 1 more, support",
        "sentence": FIRING.sentence,
        "also": ["support: loop length 31."],
        "labels": {"agent_name": "support"},
        "started": "2026-11-20 14:05 UTC",
        "at": "2026-11-20T14:07:00.000000Z",
        "link": "http://127.0.0.1:8501/requests?agent=support",
        "cause": [],
        "usd_per_hour": None,
        "first": "",
        "examples": [],
    }


def test_the_signature_is_that_of_the_standard() -> None:
    # The reference vector of standardwebhooks.com.
    key = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_pagerduty_opens_and_resolves_one_incident(http: FakeHttp) -> None:
    http.answer = lambda *_: (202, {}, b'{"status": "success"}')
    pagerduty = PagerDuty(HERE, Secret("KEY"), http.url)
    for notice in (FIRING, RESOLVED):
        pagerduty.send(notice, Delivery("k"))
    opened, resolved = http.bodies
    assert opened == {
        "routing_key": "KEY",
        "event_action": "trigger",
        "dedup_key": "i1",
        "client": "taximeter",
        "client_url": FIRING.link,
        "links": [{"href": FIRING.link, "text": "Open in taximeter"}],
        "payload": {
            "summary": FIRING.sentence,
            "source": "support",
            "severity": "warning",
            "group": "cost-per-request",
            "custom_details": {
                "rule": "cost-per-request",
                "since": "2026-11-20 14:05 UTC",
                "also": ["support: loop length 31."],
                "cause": [],
                "agent_name": "support",
            },
        },
    }
    assert resolved == {"routing_key": "KEY", "event_action": "resolve", "dedup_key": "i1"}


def test_a_test_of_pagerduty_leaves_nothing_open(http: FakeHttp) -> None:
    PagerDuty(HERE, Secret("KEY"), http.url).send(replace(FIRING, kind="test"), Delivery("k"))
    assert [body["event_action"] for body in http.bodies] == ["trigger", "resolve"]


def test_a_long_sentence_fits_into_pagerduty_and_slack() -> None:
    long = replace(FIRING, sentence="&" * 5_000)
    assert len(pagerduty_event(long, "trigger")["payload"]["summary"]) == 1_024
    for block in slack_message(long)["blocks"][:2]:
        assert len(block["text"]["text"]) <= 3_000
        assert block["text"]["text"].replace("&amp;", "").count("&") == 0


def test_teams_shows_span_text_as_it_is(http: FakeHttp) -> None:
    http.answer = lambda *_: (202, {}, b"")
    Teams(HERE, Secret(http.url)).send(FIRING, Delivery("k", is_possible_repeat=True))
    (sent,) = http.bodies
    assert sent == teams_message(FIRING, is_possible_repeat=True)
    (attachment,) = sent["attachments"]
    card = attachment["content"]
    # A text run knows no markdown and no mention: nothing to escape, nothing to click.
    assert [block["type"] for block in card["body"]] == ["RichTextBlock"] * 4
    runs = [block["inlines"][0] for block in card["body"]]
    assert {run["type"] for run in runs} == {"TextRun"}
    assert runs[0]["text"] == "Firing: cost per request and 1 more, support (possible repeat)"
    assert runs[1]["text"] == FIRING.sentence
    assert card["actions"][0]["url"] == FIRING.link


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "[::1]", "0.0.0.0", "169.254.169.254", "10.0.0.1", "192.168.1.1", "172.16.0.1",
        "100.64.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[fd00::1]", "224.0.0.1", "localhost",
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_request_to_an_address_that_is_not_public(host: str, scheme: str) -> None:
    try:
        Web().post("ops", f"{scheme}://{host}/x", b"{}", {})
    except NotificationError as error:
        # Whether an odd form is an address at all is the resolver's word; it is never sent.
        assert (
            "no public address" in str(error)
            or "has no address" in str(error)
            or ("is no URL" in str(error))
        )
        return
    pytest.fail("it was sent")


def test_a_name_is_resolved_once_and_what_was_checked_is_what_is_asked(http: FakeHttp) -> None:
    port = int(http.url.rpartition(":")[2])
    looked_up: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"] if len(looked_up) == 1 else ["169.254.169.254"]

    web = Web([ip_network("127.0.0.1/32")], rebinding)
    web.post("ops", f"http://hooks.example:{port}/x", b"{}", {})
    assert looked_up == ["hooks.example"]
    assert http.requests[0][1]["host"] == f"hooks.example:{port}"


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    web = Web(resolve=lambda host, port: ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(NotificationError, match="allow_networks") as caught:
        web.post("ops", "https://hooks.example/SECRET", b"{}", {})
    assert caught.value.is_permanent and "SECRET" not in str(caught.value)


@pytest.mark.parametrize("target", ["http://169.254.169.254/", "http://127.0.0.1:1/"])
def test_a_redirect_is_not_followed(http: FakeHttp, target: str) -> None:
    http.answers = [(302, {"Location": target}, b"")]
    with pytest.raises(NotificationError, match="answered 302") as caught:
        SlackWebhook(HERE, Secret(http.url)).send(FIRING, Delivery("k"))
    assert caught.value.is_permanent and len(http.requests) == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/", "example.org", ""])
def test_only_http_addresses_are_asked(url: str) -> None:
    with pytest.raises(NotificationError) as caught:
        SlackWebhook(HERE, Secret(url)).send(FIRING, Delivery("k"))
    assert caught.value.is_permanent


def test_of_a_long_answer_only_the_beginning_is_read(http: FakeHttp) -> None:
    http.answers = [(200, {}, b"x" * 10 * MOST_BYTES)]
    assert len(HERE.post("ops", http.url, b"{}", {}).body) == MOST_BYTES


def test_an_answer_that_never_comes_may_have_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    def stall(*_: Any, **__: Any) -> Any:
        raise httpx.ReadTimeout("late")

    monkeypatch.setattr(httpx.Client, "stream", stall)
    with pytest.raises(NotificationError) as caught:
        HERE.post("ops", "http://127.0.0.1/", b"{}", {})
    assert caught.value.is_unknown and not caught.value.is_permanent


def test_apprise_sends_to_its_own_url(http: FakeHttp) -> None:
    pytest.importorskip("apprise")
    notice = replace(FIRING, examples=(Example("$0.40, 40 steps", "http://127.0.0.1:8501/r"),))
    Apprise(Secret(http.url.replace("http://", "json://"))).send(notice, Delivery("k"))
    assert http.bodies[0]["title"] == "[taximeter] Firing: cost per request and 1 more, support"
    assert "Example: $0.40, 40 steps http://127.0.0.1:8501/r" in http.bodies[0]["message"]
    with pytest.raises(NotificationError, match="does not know"):
        Apprise(Secret("nonsense")).send(FIRING, Delivery("k"))
