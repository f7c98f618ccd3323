"""kill -9 between decision and delivery, again and again: no notice is lost, none repeated unseen.

`python -m tests.alerts.kill_rounds --rounds 50` runs a process that decides and delivers, on real
sockets, to a Slack bot, a Slack webhook, a generic webhook and a mail server; it is killed before
an answer, after one, or at any time, and started again. Printed is what each receiver got.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path
from random import Random
from typing import Any

from aiosmtpd.controller import Controller
from tests.alerts.fake_http import FakeHttp, FakeSlack, Reply
from tests.alerts.timeline import START
from tests.patience import PATIENCE_S

from taximeter.settings.secret import Secret
from taximeter_alerts.incidents.board import Board
from taximeter_alerts.incidents.dispatcher import Dispatcher
from taximeter_alerts.judge.detect import Verdict
from taximeter_alerts.judge.finding import Finding
from taximeter_alerts.notification_log import NotificationLog
from taximeter_alerts.notifiers.channels import notifiers_of
from taximeter_alerts.notifiers.slack import SlackBot
from taximeter_alerts.notifiers.web import Web
from taximeter_alerts.outbox.outbox import Outbox
from taximeter_alerts.rules.rules_file import parse_rules

STEP = timedelta(minutes=10)
RULES = """\
version: 1
group_wait: 0s
defaults: false
allow_networks: [127.0.0.0/8]
email: {{host: 127.0.0.1, port: {smtp}}}
notify:
  bot: {{slack: {{token: env:TOKEN, channel: C0123ABCD}}}}
  hook: {{slack: env:SLACK}}
  own: {{webhook: {{url: env:OWN, secret: env:TOKEN}}}}
  mail: {{email: [ops@example.org]}}
rules:
  - {{name: cost, watch: cost_per_request_usd, by: agent_name, when: above $1, keep_firing_for: 0s}}
"""


@dataclass
class Result:
    """What came of the rounds; a notice is one incident's firing or end to one receiver."""

    kills: int = 0
    incidents: int = 0
    notices: int = 0
    lost: int = 0
    repeats_at_a_slack_bot: int = 0
    repeats_at_a_slack_webhook_marked: int = 0
    repeats_unmarked: int = 0
    repeats_with_the_same_key: dict[str, int] = field(default_factory=dict)
    dead: int = 0

    @property
    def is_right(self) -> bool:
        return not (self.lost + self.repeats_at_a_slack_bot + self.repeats_unmarked + self.dead)


class Receivers:
    """The four receivers; `strike` is called before and after one takes a notice."""

    def __init__(self) -> None:
        self.bot, self.hook, self.own = FakeSlack(), FakeHttp(), FakeHttp()
        self.mails: list[str] = []
        self.smtp = Controller(self, hostname="127.0.0.1", port=_free_port())
        self.smtp.start()
        self.child: subprocess.Popen[str] | None = None
        self.plan = ("", "")
        """Whom the process is delivering to when it is killed, and before or after it arrives."""
        for name, server in (("bot", self.bot), ("hook", self.hook), ("own", self.own)):
            inner = server.answer

            def answer(
                path: str,
                headers: dict[str, str],
                body: bytes,
                inner: Any = inner,
                name: str = name,
            ) -> Reply:
                self.strike(name, "before")
                said: Reply = inner(path, headers, body)
                self.strike(name, "after")
                return said

            server.answer = answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.strike("mail", "before")
        self.mails.append(str(message_from_bytes(envelope.content)["Message-ID"]))
        self.strike("mail", "after")
        return "250 OK"

    def strike(self, name: str, moment: str) -> None:
        if self.plan == (name, moment) and self.child is not None:
            self.plan = ("", "")
            self.child.send_signal(signal.SIGKILL)
            self.child.wait(PATIENCE_S)

    def close(self) -> None:
        self.smtp.stop()
        for server in (self.bot, self.hook, self.own):
            server.close()


def run(data_dir: Path, rounds: int, seed: int) -> Result:
    """Kill `rounds` times, let the last process end, and count."""
    random, result, receivers = Random(seed), Result(), Receivers()
    try:
        for number in range(rounds):
            child = receivers.child = _start(data_dir, receivers, until=10**6)
            receivers.plan = (random.choice(_NAMES), random.choice(("before", "after", "any")))
            if receivers.plan[1] == "any":
                threading.Event().wait(random.uniform(0.0, 0.1))
                child.send_signal(signal.SIGKILL)
            child.wait(PATIENCE_S)
            result.kills = number + 1
        receivers.plan = ("", "")
        last = _start(data_dir, receivers, until=0)
        assert last.wait(PATIENCE_S) == 0
        _count(data_dir, receivers, result)
    finally:
        receivers.close()
    return result


def _start(data_dir: Path, receivers: Receivers, until: int) -> subprocess.Popen[str]:
    environ = {
        **os.environ,
        "TOKEN": "xoxb-SECRET",
        "SLACK": receivers.hook.url,
        "OWN": receivers.own.url,
        "BOT": receivers.bot.url,
        "SMTP": str(receivers.smtp.port),
    }
    command = [sys.executable, "-m", "tests.alerts.kill_rounds", "--child", str(data_dir)]
    child = subprocess.Popen(
        [*command, "--until", str(until)], env=environ, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    return child


def _count(data_dir: Path, receivers: Receivers, result: Result) -> None:
    with _opened(data_dir) as log:
        rows = log.rows("select id, receiver, status from outbox where status <> 'merged'")
        result.incidents = log.rows("select count(*) as n from incident")[0]["n"]
    keys = {name: {r["id"] for r in rows if r["receiver"] == name} for name in _NAMES}
    result.notices = len(rows)
    result.dead = sum(row["status"] != "sent" for row in rows)
    bot = Counter(m["metadata"]["event_payload"]["key"] for m in receivers.bot.messages)
    own = Counter(headers["idempotency-key"] for _, headers, _ in receivers.own.requests)
    mail = Counter(receivers.mails)
    hook = [body["text"] for body in receivers.hook.bodies]
    marked = sum("(possible repeat)" in text for text in hook)
    told = Counter(text.split("\n")[0].replace(" (possible repeat)", "") for text in hook)
    result.lost = (
        len(keys["bot"] - set(bot))
        + len(keys["own"] - set(own))
        + max(0, len(keys["mail"]) - len(mail))
        + max(0, len(keys["hook"]) - len(told))
    )
    result.repeats_at_a_slack_bot = bot.total() - len(bot)
    result.repeats_at_a_slack_webhook_marked = min(marked, told.total() - len(told))
    result.repeats_unmarked = max(0, told.total() - len(told) - marked)
    result.repeats_with_the_same_key = {
        "webhook": own.total() - len(own),
        "mail": mail.total() - len(mail),
    }


_NAMES = ("bot", "hook", "own", "mail")


@contextmanager
def _opened(data_dir: Path) -> Iterator[NotificationLog]:
    log = NotificationLog(data_dir)
    yield log
    log.close()


def _child(data_dir: Path, until: int) -> None:
    """Decide and deliver, one new incident and the end of the last one a step."""
    book = parse_rules(RULES.format(smtp=os.environ["SMTP"]), "alerts.yaml", os.environ)
    (rule,) = book.rules
    with _opened(data_dir) as log:
        notifiers = notifiers_of(book)
        web = Web(book.allow_networks)
        api = f"{os.environ['BOT']}/api"
        notifiers["bot"] = SlackBot(web, Secret(os.environ["TOKEN"]), "C0123ABCD", api)
        board: Board

        def clock() -> Any:
            return board.watermark or START

        outbox = Outbox(log, notifiers, clock)
        board = Board(book, log, Dispatcher(book, log, outbox, lambda: None))
        board.restore(START)
        print("ready", flush=True)
        step = int((clock() - START) / STEP)
        is_last = step >= until
        while True:
            step += 1
            at = START + step * STEP
            findings = [
                Finding(
                    rule, {"agent_name": f"g{n}"}, Verdict(outcome, 2.0, 900, 30.0), "s", "warning"
                )
                for n, outcome in _script(step, is_last)
            ]
            board.record(at, findings, is_newest=True)
            for receiver in outbox.receivers:
                while outbox.send_next(receiver):
                    pass
            if is_last and not outbox.undelivered():
                return


def _script(step: int, is_last: bool) -> list[tuple[int, Any]]:
    over: list[tuple[int, Any]] = [(n, "clear") for n in range(max(1, step - 3), step)]
    return over if is_last else [*over, (step, "breach")]


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        _child(given.child, given.until)
        return 0
    with tempfile.TemporaryDirectory() as directory:
        result = run(Path(directory), given.rounds, given.seed)
    print(json.dumps(asdict(result), indent=2))
    return 0 if result.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
