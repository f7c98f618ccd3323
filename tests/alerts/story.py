"""One night of one agent, told to every channel: rows of a store in, what arrives on real sockets out.

`python -m tests.alerts.story` writes what arrives to tests/alerts/golden, which the tests compare.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from aiosmtpd.controller import Controller
from tests.alerts.conftest import Clock, MemoryStore
from tests.alerts.fake_http import FakeHttp, FakeSlack

from taximeter.settings.secret import Secret
from taximeter_alerts.evaluator import Evaluator
from taximeter_alerts.incidents.board import Board
from taximeter_alerts.incidents.dispatcher import Dispatcher
from taximeter_alerts.notification_log import NotificationLog
from taximeter_alerts.notifiers.email import EmailNotifier
from taximeter_alerts.notifiers.pagerduty import PagerDuty
from taximeter_alerts.notifiers.slack import SlackBot, SlackWebhook
from taximeter_alerts.notifiers.teams import Teams
from taximeter_alerts.notifiers.web import Web
from taximeter_alerts.notifiers.webhook import Webhook
from taximeter_alerts.outbox.delivery import Notifier
from taximeter_alerts.outbox.outbox import Outbox
from taximeter_alerts.rules.book import MailServer
from taximeter_alerts.rules.rules_file import parse_rules

GOLDEN: Final = Path(__file__).parent / "golden"
NIGHT: Final = datetime(2026, 11, 20, 2, 10, tzinfo=UTC)
"""When version 2.5.0 is deployed, which searches the same thing again and again."""
THROTTLED: Final = NIGHT + timedelta(minutes=16)
"""From then on its searches are refused."""
FIXED: Final = NIGHT + timedelta(minutes=31)
END: Final = NIGHT + timedelta(minutes=90)
KINDS: Final = ("firing", "joined", "resolved")
AGENT: Final = "web-researcher"
BOOK: Final = """\
version: 1
settle: 0s
defaults: false
notify:
  slack: {slack: env:KEY}
  bot: {slack: {token: env:KEY, channel: C0123ABCD}}
  mail: {email: [ops@example.org]}
  hook: {webhook: env:KEY}
  pagerduty: {pagerduty: env:KEY}
  teams: {teams: env:KEY}
rules:
  - {name: cost-per-request, watch: cost_per_request_usd, by: agent_name, when: spike 2x, at_least: {impact: $1}}
  - {name: loop-length, watch: loop_length_mean, by: agent_name, when: spike 1.5x}
  - {name: tool-errors, watch: tool_error_rate, by: [agent_name, tool_name], when: spike 2x}
"""
_STEP_PICO: Final = 14_000_000_000
"""A model call's cost: two thirds of it the prompt, the rest the output."""
_REQUESTS: Final = """insert into request by name
select 'r' || epoch($start)::bigint || '-' || i as request_id, $start + to_seconds(i * $every_s) as start_time,
    $agent as agent_name, $version as agent_version, $steps + i % 3 as loop_length,
    ($steps + i % 3) * $step_pico as cost_pico, ($steps + i % 3) * 3100.0 as duration_ms, i % 8 = 0 and $fails as is_error,
    case when i % 8 = 0 and $fails then 'tool' end as error_class
from range($number) t(i)"""
_CALLS: Final = """insert into call by name
select request_id as trace_id, 's' || j as span_id, start_time + to_seconds(j * 3) as start_time, agent_name, agent_version,
    'anthropic' as provider, 'claude-sonnet-5-5' as model, true as is_billed, 'ok' as status,
    2800 as uncached_input_tokens, 0 as cache_read_tokens, 0 as cache_write_tokens, 300 as output_tokens,
    3100 as total_tokens, $step_pico as cost_pico, $step_pico * 2 // 3 as input_cost_pico, 0 as cache_read_cost_pico,
    0 as cache_write_cost_pico, $step_pico - $step_pico * 2 // 3 as output_cost_pico
from request, range(loop_length) c(j) where start_time >= $start"""
_TOOL_CALLS: Final = """insert into tool_call by name
select request_id as trace_id, 't' || j as span_id, start_time + to_seconds(j * 3) as start_time, agent_name,
    'web_search' as tool_name, $is_loop and j > 2 as is_repeat, $fails and j % 3 = 0 as is_error,
    case when $fails and j % 3 = 0 then 'rate_limit' end as error_class
from request, range(loop_length - 1) c(j) where start_time >= $start"""
_MINUTES: Final = """insert into usage_minute by name
select time_bucket(interval 1 minute, start_time) as minute, agent_name, agent_version, 'prod' as environment,
    count(*) as requests, count(*) filter (is_error) as failed_requests, sum(cost_pico) as request_cost_pico,
    0 as unpriced_requests, sum(loop_length) as loop_length_sum, max(loop_length) as loop_length_max,
    count(*) as loop_length_requests, 0 as calls, 0 as failed_calls, 0 as logical_calls, 0 as unseen_attempts
from request where start_time >= $start group by all
union all by name
select time_bucket(interval 1 minute, start_time) as minute, agent_name, tool_name, 'prod' as environment,
    count(*) as tool_calls, count(*) filter (is_error) as failed_tool_calls, 0 as requests
from tool_call where start_time >= $start group by all
union all by name
select time_bucket(interval 1 minute, start_time) as minute, agent_name, agent_version, provider, model,
    'prod' as environment, count(*) as calls, 0 as failed_calls, 0 as unseen_attempts, sum(total_tokens) as tokens,
    sum(total_tokens) as priced_tokens, sum(cost_pico) as cost_pico, 0 as requests
from call where start_time >= $start group by all"""


def fill(store: MemoryStore) -> None:
    """Put 14 days of the usual in, then the night."""
    before, day = NIGHT - timedelta(days=14), NIGHT - timedelta(hours=27)
    _add(store, before, day, every_s=40, steps=4, version="2.4.2")
    # A cause looks a day back.
    store.run("delete from request; delete from call; delete from tool_call")
    _add(store, day, NIGHT, every_s=40, steps=4, version="2.4.2")
    _add(store, NIGHT, THROTTLED, every_s=40, steps=38, version="2.5.0")
    _add(store, THROTTLED, FIXED, every_s=40, steps=38, version="2.5.0", fails=True)
    _add(store, FIXED, END, every_s=40, steps=4, version="2.5.1")


def _add(
    store: MemoryStore,
    start: datetime,
    end: datetime,
    *,
    every_s: int,
    steps: int,
    version: str,
    fails: bool = False,
) -> None:
    number = int((end - start).total_seconds()) // every_s
    asked = {"start": start, "every_s": every_s, "number": number, "steps": steps, "fails": fails}
    store.run(_REQUESTS, {**asked, "version": version, "agent": AGENT, "step_pico": _STEP_PICO})
    store.run(_CALLS, {"start": start, "step_pico": _STEP_PICO})
    store.run(_TOOL_CALLS, {"start": start, "is_loop": steps > 10, "fails": fails})
    store.run(_MINUTES, {"start": start})


class Mailbox:
    """A real mail server that keeps what it gets."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        self.controller = Controller(self, hostname="127.0.0.1", port=port)
        self.server = MailServer("127.0.0.1", port, "taximeter@example.org")

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.messages.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


class Receivers:
    """Everybody who can be told, as servers that keep what comes."""

    def __init__(self) -> None:
        self.bot, self.mailbox = FakeSlack(), Mailbox()
        self.web = {name: FakeHttp() for name in ("slack", "hook", "pagerduty", "teams")}
        self.mailbox.controller.start()

    def notifiers(self) -> dict[str, Notifier]:
        web, urls = Web([ip_network("127.0.0.0/8")]), {n: s.url for n, s in self.web.items()}
        return {
            "slack": SlackWebhook(web, Secret(urls["slack"])),
            "bot": SlackBot(web, Secret("xoxb-SECRET"), "C0123ABCD", f"{self.bot.url}/api"),
            "mail": EmailNotifier(self.mailbox.server, ("ops@example.org",)),
            "hook": Webhook(web, Secret(urls["hook"]), None),
            "pagerduty": PagerDuty(web, Secret("KEY"), urls["pagerduty"]),
            "teams": Teams(web, Secret(urls["teams"])),
        }

    def close(self) -> None:
        self.mailbox.controller.stop()
        for server in (self.bot, *self.web.values()):
            server.close()


@contextmanager
def told() -> Iterator[Receivers]:
    """Let the night pass, minute by minute; yield what everybody was sent."""
    store, clock, receivers = MemoryStore(), Clock(NIGHT - timedelta(minutes=1)), Receivers()
    fill(store)
    book = parse_rules(BOOK, "alerts.yaml", {"KEY": "k"})
    with tempfile.TemporaryDirectory() as folder:
        log = NotificationLog(Path(folder))
        outbox = Outbox(log, receivers.notifiers(), clock, jitter=lambda: 0.5)
        board = Board(
            book, log, Dispatcher(book, log, outbox, lambda: "https://taximeter.example.org")
        )
        board.set_watermark(clock.now)
        evaluator = Evaluator(book, store, board, clock)
        try:
            while clock.now < END:
                clock.forward(minutes=1 if clock.now < FIXED else 3)
                board.set_watermark(clock.now - timedelta(minutes=1))
                evaluator.tick()
                for receiver in outbox.receivers:
                    while outbox.send_next(receiver):
                        pass
            yield receivers
        finally:
            log.close()
            receivers.close()


def golden_files(receivers: Receivers) -> dict[str, str]:
    """Return what arrived as the texts of files: a message each, of a Slack bot all of its channel."""
    found: dict[str, str] = {}
    for name, server in receivers.web.items():
        for kind, body in zip(KINDS, server.bodies, strict=True):
            found[f"{name}_{kind}.json"] = _json(body)
    found["bot_channel.json"] = _json(receivers.bot.messages)
    for kind, mail in zip(KINDS, receivers.mailbox.messages, strict=True):
        for kind_of_text, suffix in (("plain", "txt"), ("html", "html")):
            (page,) = (p for p in mail.walk() if p.get_content_type() == f"text/{kind_of_text}")
            found[f"mail_{kind}.{suffix}"] = page.get_content().replace("\r\n", "\n")
    return {name: _without_chance(text) for name, text in found.items()}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _without_chance(text: str) -> str:
    """Return a text in which the incident's random id is always the same."""
    return re.sub(r"\b[0-9a-f]{16}\b", "0123456789abcdef", text)


def chart(mail: EmailMessage) -> bytes:
    """Return the picture in a mail: what draws it may change, so it is compared with nothing."""
    (png,) = (part for part in mail.walk() if part.get_content_type() == "image/png")
    content: bytes = png.get_content()
    return content


def main() -> int:
    """Write the golden files anew."""
    with told() as receivers:
        (GOLDEN / "mail_chart.png").write_bytes(chart(receivers.mailbox.messages[0]))
        for name, text in golden_files(receivers).items():
            (GOLDEN / name).write_text(text, encoding="utf-8")
            print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
