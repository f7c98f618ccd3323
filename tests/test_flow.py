"""One call, followed through everything: agent → shim → OTLP → store → view → rule → Slack and mail."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from tests.patience import PATIENCE_S, wait_until
from tests.telemetry import body, chat

from taximeter.demo.fake_api import FakeApi
from taximeter.pricing import load_catalog
from taximeter.settings.ports import live_port
from taximeter.usage import normalise_usage
from taximeter_alerts.evaluator import Evaluator
from taximeter_alerts.incidents.board import Board
from taximeter_alerts.incidents.dispatcher import Dispatcher
from taximeter_alerts.notification_log import NotificationLog
from taximeter_alerts.notifiers.channels import notifiers_of
from taximeter_alerts.outbox.outbox import Outbox
from taximeter_alerts.rules.rules_file import load_rules
from taximeter_collector.client import ReadClient

AGENT = """
import sys, anthropic, taximeter

taximeter.init(service="travel-desk")
client = anthropic.Anthropic(base_url=sys.argv[1], api_key="demo")

@taximeter.tool
def get_weather(city: str) -> str:
    return "18C, cloudy"

@taximeter.agent("desk", version="1.4")
def answer(question: str) -> str:
    get_weather("Paris")
    message = client.messages.create(model="claude-opus-5-5", max_tokens=200,
                                     messages=[{"role": "user", "content": question}])
    return message.content[0].text

with taximeter.request(name="Weather in Paris", user="u-17", session="s-9", tenant="acme") as request:
    answer("What is the weather in Paris?")
print(request.cost_usd)
"""

RULES = """
version: 1
settle: 0s
group_wait: 0s
defaults: false
allow_networks: [127.0.0.0/8]
email: {{host: 127.0.0.1, port: {smtp}, tls: none, from: taximeter@example.org}}
notify:
  ops: {{slack: env:SLACK_WEBHOOK_URL}}
  owners: {{email: [owner@example.org]}}
rules:
  - name: any-cost
    watch: cost_per_request_usd
    by: agent_name
    when: above $0.000001
    at_least: {{requests: 1}}
    for: 0s
    notify: [ops, owners]
"""


def test_a_call_becomes_a_dollar_and_a_dollar_an_alert(tmp_path: Path) -> None:
    """The stored cost equals the guard's and the price list's; people hear of it with the cause."""
    with running_collector(tmp_path) as client, FakeApi() as api:
        guard_usd = run_agent(client, api)
        call = wait_for_row(client, "select * from calls")
        request = wait_for_row(client, "select * from requests where is_complete")
        spans = client.query("select kind, dialect, user_id from spans order by start_time")
        messages, mails = evaluate_and_notify(client, tmp_path)
        assert fastest(client) < 3.0

    usage = normalise_usage("anthropic", json.loads(call["usage_raw"]))
    catalog = load_catalog()
    entry = catalog.resolve("anthropic", "claude-opus-5-5")
    assert entry is not None
    priced = catalog.price(usage, entry, call["start_time"])
    assert priced is not None and priced.total_pico > 0
    assert call["cost_pico"] == priced.total_pico
    assert request["cost_pico"] == priced.total_pico
    assert abs(guard_usd - priced.total_usd) < 1e-15

    assert (call["agent_name"], call["user_id"], call["tenant"]) == ("desk", "u-17", "acme")
    assert (call["is_billed"], call["cost_quality"]) == (True, "exact")
    assert call["basis_evidence"] == "raw"
    assert request["name"] == "Weather in Paris"
    assert (request["loop_length"], request["tool_calls"]) == (1, 1)
    assert (request["is_error"], request["termination_reason"]) == (False, "completed")
    assert spans["kind"].to_pylist() == ["workflow", "agent", "tool", "llm"]
    assert set(spans["user_id"].to_pylist()) == {"u-17"}

    (slack,), (mail,) = messages, mails
    assert "desk" in slack["text"] and "cost per request" in slack["text"]
    assert slack["blocks"]
    assert "desk" in str(mail["subject"])
    body = mail.get_body(preferencelist=("plain",))
    assert body is not None and "cost per request" in body.get_content()


def run_agent(client: ReadClient, api: FakeApi) -> float:
    """Run the agent in a process of its own; return the cost that its guard counted."""
    out = subprocess.run(
        [sys.executable, "-c", AGENT, api.anthropic_url],
        env=os.environ | {"TAXIMETER_ENDPOINT": client.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return float(out.stdout)


@contextmanager
def running_collector(data_dir: Path) -> Iterator[ReadClient]:
    """A real collector on free ports."""
    ports = {"TAXIMETER_COLLECTOR_HTTP_PORT": "0", "TAXIMETER_COLLECTOR_GRPC_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "taximeter_collector", "--data-dir", str(data_dir)],
        env=os.environ | ports,
    )
    try:
        wait_until(lambda: port_of(data_dir) is not None or process.poll() is not None)
        yield ReadClient(f"http://127.0.0.1:{port_of(data_dir)}")
    finally:
        process.terminate()
        process.wait(30)


def port_of(data_dir: Path) -> int | None:
    return live_port(data_dir, "collector", "http_port")


def wait_for_row(client: ReadClient, sql: str) -> dict[str, Any]:
    """Return the one row that appears."""
    wait_until(lambda: client.query(sql).num_rows > 0, sql)
    (row,) = client.query(sql).to_pylist()
    found: dict[str, Any] = row
    return found


def fastest(client: ReadClient, tries: int = 8) -> float:
    """Return in how many seconds a call that is sent can be read; a busy machine gets more tries."""
    took: list[float] = []
    while min(took, default=9.0) >= 3.0 and len(took) < tries:
        trace = 100 + len(took)
        sent = time.monotonic()
        request = urllib.request.Request(
            f"{client.url}/v1/traces",
            body([chat(trace, 1)]),
            {"Content-Type": "application/x-protobuf"},
        )
        urllib.request.urlopen(request, timeout=PATIENCE_S).close()
        wait_for_row(client, f"select * from requests where request_id = '{trace:032x}'")
        took.append(time.monotonic() - sent)
    return min(took)


def evaluate_and_notify(
    client: ReadClient, data_dir: Path
) -> tuple[list[dict[str, Any]], list[EmailMessage]]:
    """Let the rules see the minute as soon as it is over, and send what they say."""
    with webhook() as (url, messages), mailbox() as (smtp_port, mails):
        os.environ["SLACK_WEBHOOK_URL"] = url
        rules = data_dir / "alerts.yaml"
        rules.write_text(RULES.format(smtp=smtp_port))
        book = load_rules(rules, os.environ)

        def clock() -> datetime:
            return datetime.now(UTC) + timedelta(minutes=1)

        log = NotificationLog(data_dir)
        outbox = Outbox(log, notifiers_of(book), clock)
        board = Board(book, log, Dispatcher(book, log, outbox, lambda: "http://127.0.0.1:8501"))
        assert Evaluator(book, client, board, clock).tick() > 0
        for receiver in outbox.receivers:
            while outbox.send_next(receiver):
                pass
        log.close()
    return messages, mails


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A fake Slack: keeps the messages that are posted to it."""
    messages: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/services/T0/SECRET", messages
    server.shutdown()
    server.server_close()


@contextmanager
def mailbox() -> Iterator[tuple[int, list[EmailMessage]]]:
    """A real SMTP server that keeps the mail."""
    mails: list[EmailMessage] = []

    class Keep:
        async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:
            mails.append(message_from_bytes(envelope.content, policy=policy.default))
            return "250 OK"

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    controller = Controller(Keep(), hostname="127.0.0.1", port=port)
    controller.start()
    yield port, mails
    controller.stop()
