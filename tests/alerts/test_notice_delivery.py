"""Notices over real sockets: a webhook and a mail server that behave and misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from taximeter.settings.secret import Secret
from taximeter_alerts.notification_log import NotificationLog
from taximeter_alerts.notifiers.email import EmailNotifier
from taximeter_alerts.notifiers.slack import SlackWebhook, slack_message
from taximeter_alerts.notifiers.web import Web, retry_after
from taximeter_alerts.outbox.delivery import Delivery, NotificationError, Notifier
from taximeter_alerts.outbox.notice import Chart, Notice, read_notice
from taximeter_alerts.outbox.outbox import Outbox
from taximeter_alerts.rules.book import MailServer

HERE = Web([ip_network("127.0.0.0/8")])
FIRING = Notice(
    kind="firing",
    incident="i1",
    rule="cost-per-request",
    severity="warning",
    title="cost per request, support",
    sentence="support: cost per request $0.42 <!channel> & more.",
    link="http://127.0.0.1:8501/requests?agent=support&start=2026-11-20T14:00Z",
    started="2026-11-20 14:05 UTC",
)


MAIL_TEXT = """\
Firing: cost per request, support

support: cost per request $0.42 <!channel> & more.

support: <b>loops</b>.

Last 24 h: ▃ ▃█

Rule cost-per-request, warning, since 2026-11-20 14:05 UTC.
http://127.0.0.1:8501/requests?agent=support&start=2026-11-20T14:00Z
"""
MAIL_PAGE = (
    '<div style="font-family:sans-serif;max-width:40em">'
    '<p style="font-size:1.1em;color:#b45309"><b>Firing: cost per request, support</b></p>'
    "<p>support: cost per request $0.42 &lt;!channel&gt; &amp; more.</p>"
    '<p><a href="http://127.0.0.1:8501/requests?agent=support&amp;start=2026-11-20T14:00Z">'
    "Open in taximeter</a></p>"
    "<p>support: &lt;b&gt;loops&lt;/b&gt;.</p>"
    '<p><img src="cid:chart@taximeter.invalid" width="640" height="180"'
    ' alt="The last 24 hours; the band is the usual range.">'
    '<br><span style="color:#666;font-size:0.85em">'
    "The last 24 hours; the band is the usual range.</span></p>"
    '<p style="color:#666">Rule cost-per-request, warning, since 2026-11-20 14:05 UTC.</p></div>\n'
)


class Webhook:
    """A web server that answers from a list, then always 200."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                webhook.bodies.append(json.loads(self.rfile.read(size)))
                status, headers = webhook.answers.pop(0) if webhook.answers else (200, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/T0/SECRET"


class Mailbox:
    """A mail server that keeps what it gets, or answers what it is told."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.answer = "250 OK"
        # The library's own address check wants a resolvable port; 0 is filled in by the system.
        self.controller = Controller(self, hostname="127.0.0.1", port=_free_port())
        self.controller.start()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answer.startswith("250"):
            self.messages.append(message_from_bytes(envelope.content, policy=policy.default))
        return self.answer

    @property
    def server(self) -> MailServer:
        return MailServer("127.0.0.1", self.controller.port, "taximeter@example.org")


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Time:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    yield webhook
    webhook.server.shutdown()
    webhook.server.server_close()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    yield mailbox
    mailbox.controller.stop()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[NotificationLog]:
    log = NotificationLog(tmp_path)
    yield log
    log.close()


def outbox_of(log: NotificationLog, notifier: Notifier, time: Time) -> Outbox:
    return Outbox(log, {"ops": notifier}, time, jitter=lambda: 0.5)


def test_a_slack_message_has_text_blocks_escapes_and_no_button() -> None:
    assert slack_message(FIRING) == {
        "text": "🟠 Firing: cost per request, support\n"
        "support: cost per request $0.42 &lt;!channel&gt; &amp; more.",
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {
                "type": "section",
                "text": {
                    "type": "mrkdwn",
                    "text": "*🟠 Firing: cost per request, support*",
                    "verbatim": True,
                },
            },
            {
                "type": "section",
                "text": {
                    "type": "mrkdwn",
                    "text": "support: cost per request $0.42 &lt;!channel&gt; &amp; more.",
                    "verbatim": True,
                },
            },
            {
                "type": "context",
                "elements": [
                    {
                        "type": "mrkdwn",
                        "text": "rule `cost-per-request` · warning · since 2026-11-20 14:05 UTC ·"
                        " <http://127.0.0.1:8501/requests?agent=support&amp;start=2026-11-20T14:00Z"
                        "|Open in taximeter>",
                        "verbatim": True,
                    }
                ],
            },
        ],
    }


def test_slack_gets_a_notice_once(webhook: Webhook, log: NotificationLog) -> None:
    outbox = outbox_of(log, SlackWebhook(HERE, Secret(webhook.url)), Time())
    outbox.add(FIRING, "ops", 1)
    outbox.add(FIRING, "ops", 1)
    assert [outbox.send_next("ops"), outbox.send_next("ops")] == [True, False]
    assert [body["text"].split("\n")[0] for body in webhook.bodies] == [
        "🟠 Firing: cost per request, support"
    ]
    assert outbox.counts() == {"sent": 1}


def test_a_busy_slack_is_asked_again_when_it_says(webhook: Webhook, log: NotificationLog) -> None:
    time = Time()
    webhook.answers = [(429, {"Retry-After": "30"}), (503, {})]
    outbox = outbox_of(log, SlackWebhook(HERE, Secret(webhook.url)), time)
    outbox.add(FIRING, "ops", 1)
    for wait_s, is_sent in ((0, True), (29, False), (1, True), (9, False), (1, True)):
        time.now += timedelta(seconds=wait_s)
        assert outbox.send_next("ops") is is_sent
    assert outbox.counts() == {"sent": 1}


def test_slack_404_is_permanent(webhook: Webhook, log: NotificationLog) -> None:
    webhook.answers = [(404, {})]
    outbox = outbox_of(log, SlackWebhook(HERE, Secret(webhook.url)), Time())
    outbox.add(FIRING, "ops", 1)
    outbox.send_next("ops")
    assert outbox.counts() == {"dead": 1}


def test_after_a_day_of_failures_a_notice_is_dead(webhook: Webhook, log: NotificationLog) -> None:
    time = Time()
    outbox = outbox_of(log, SlackWebhook(HERE, Secret(webhook.url)), time)
    outbox.add(FIRING, "ops", 1)
    for _ in range(2):
        webhook.answers = [(503, {})]
        outbox.send_next("ops")
        time.now += timedelta(hours=24)
    assert outbox.counts() == {"dead": 1}


def test_the_webhook_address_is_in_no_error_and_not_in_the_database(
    log: NotificationLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slack = SlackWebhook(HERE, Secret("http://127.0.0.1:9/T0/SECRET"))
    with pytest.raises(NotificationError) as caught:
        slack.send(FIRING, Delivery("k"))
    assert not caught.value.is_permanent
    outbox = outbox_of(log, slack, Time())
    outbox.add(FIRING, "ops", 1)
    outbox.send_next("ops")
    told = str(caught.value) + caplog.text
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert "SECRET" not in told and b"SECRET" not in stored


def test_firing_and_resolved_undelivered_become_one_notice(
    webhook: Webhook, log: NotificationLog
) -> None:
    outbox = outbox_of(log, SlackWebhook(HERE, Secret(webhook.url)), Time())
    outbox.add(FIRING, "ops", 1)
    resolved = Notice("resolved", "i1", "cost-per-request", "warning", "cost", "It is over.")
    outbox.add(resolved, "ops", 1)
    assert [outbox.send_next("ops"), outbox.send_next("ops")] == [True, False]
    assert webhook.bodies[0]["text"] == "✅ Was firing: cost\nIt is over."


def test_what_was_being_sent_when_the_process_died_is_sent_again_and_says_so(
    webhook: Webhook, log: NotificationLog
) -> None:
    slack = SlackWebhook(HERE, Secret(webhook.url))
    outbox_of(log, slack, Time()).add(FIRING, "ops", 1)
    log.execute("update outbox set status = 'sending', attempts = 1")
    after = outbox_of(log, slack, Time())
    after.send_next("ops")
    assert "(possible repeat)" in webhook.bodies[0]["text"]
    assert after.counts() == {"sent": 1}


def test_a_receiver_that_is_gone_buries_its_notices(log: NotificationLog) -> None:
    outbox_of(log, SlackWebhook(HERE, Secret("http://127.0.0.1:9")), Time()).add(FIRING, "ops", 1)
    assert Outbox(log, {}, Time()).counts() == {"dead": 1}


def test_mail_has_text_and_html_and_resolved_answers_firing(mailbox: Mailbox) -> None:
    email = EmailNotifier(mailbox.server, ("a@example.org", "b@example.org"))
    email.send(FIRING, Delivery("i1:firing:1:ops"))
    email.send(FIRING, Delivery("i1:firing:1:ops", is_possible_repeat=True))
    resolved = Notice("resolved", "i1", "cost-per-request", "warning", "cost", "It is over.")
    email.send(resolved, Delivery("i1:resolved:1:ops"))
    first, repeat, last = mailbox.messages
    assert first["Subject"] == "[taximeter] Firing: cost per request, support"
    assert first["To"] == "a@example.org, b@example.org"
    assert [part.get_content_type() for part in first.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    text, page = (part.get_content() for part in first.iter_parts())
    assert FIRING.sentence in text and str(FIRING.link) in text
    assert "&lt;!channel&gt; &amp; more" in page
    assert repeat["Message-ID"] == first["Message-ID"] != last["Message-ID"]
    assert last["In-Reply-To"] == first["Message-ID"]


def test_mail_shows_the_last_day_inline_and_as_text(mailbox: Mailbox) -> None:
    chart = Chart((0.1, None, 0.1, 0.4), usual=0.1, high=0.2, unit="USD")
    notice = replace(FIRING, chart=chart, also=("support: <b>loops</b>.",))
    assert read_notice(notice.to_json()) == notice
    email = EmailNotifier(mailbox.server, ("a@example.org",))
    email.send(notice, Delivery("i1:firing:1:ops"))
    (message,) = mailbox.messages
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
    ]
    text, _, page, picture = list(message.walk())[1:]
    assert text.get_content().replace("\r\n", "\n") == MAIL_TEXT
    assert page.get_content().replace("\r\n", "\n") == MAIL_PAGE
    assert picture["Content-ID"] == "<chart@taximeter.invalid>"
    assert picture.get_content_disposition() == "inline"
    assert picture.get_content()[:8] == b"\x89PNG\r\n\x1a\n"


def test_slack_shows_the_last_day_as_a_line_of_text() -> None:
    message = slack_message(replace(FIRING, chart=Chart((0.1, None, 0.1, 0.4))))
    assert message["blocks"][-1]["elements"][0]["text"].startswith("24 h `▃ ▃█` · rule ")


@pytest.mark.parametrize(("answer", "is_permanent"), [("451 later", False), ("554 no", True)])
def test_a_mail_server_that_refuses(mailbox: Mailbox, answer: str, is_permanent: bool) -> None:
    mailbox.answer = answer
    with pytest.raises(NotificationError, match=answer[:3]) as caught:
        EmailNotifier(mailbox.server, ("a@example.org",)).send(FIRING, Delivery("k"))
    assert caught.value.is_permanent is is_permanent


def test_a_mail_server_that_is_away_is_tried_again() -> None:
    server = MailServer("127.0.0.1", _free_port())
    with pytest.raises(NotificationError, match="was not reached: connection refused") as caught:
        EmailNotifier(server, ("a@example.org",)).send(FIRING, Delivery("k"))
    assert not caught.value.is_permanent


def test_a_hook_that_is_away_is_tried_again_and_says_why() -> None:
    sender = Web((ip_network("127.0.0.0/8"),))
    with pytest.raises(NotificationError, match="was not reached: connection refused") as caught:
        sender.post("the hook", f"http://127.0.0.1:{_free_port()}/secret", b"{}", {})
    assert not caught.value.is_permanent and "secret" not in str(caught.value)


def test_retry_after_is_a_number_or_a_date() -> None:
    now = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
    assert retry_after("7", now) == 7.0
    assert retry_after("Fri, 20 Nov 2026 14:01:00 GMT", now) == 60.0
    assert retry_after("soon", now) is None
