"""Everything that the rules make: evaluation, digests, what agents are told, the API. Built anew when alerts.yaml changes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from taximeter.settings.exposure import is_loopback
from taximeter.settings.ports import live_port, part_url
from taximeter.settings.settings import Settings
from taximeter_alerts.amounts import say_count
from taximeter_alerts.api.api import Api
from taximeter_alerts.api.rules_text import InForce, RulesText
from taximeter_alerts.backtest.backtest_job import BacktestJob, backtest_command
from taximeter_alerts.digest.digests import Digests
from taximeter_alerts.evaluator import Evaluator
from taximeter_alerts.fleet import Publisher
from taximeter_alerts.incidents.board import Board
from taximeter_alerts.incidents.dispatcher import Dispatcher
from taximeter_alerts.incidents.silences import keep_file_silences
from taximeter_alerts.notification_log import NotificationLog
from taximeter_alerts.notifiers.channels import notifiers_of
from taximeter_alerts.outbox.outbox import Outbox
from taximeter_alerts.rules.book import RuleBook
from taximeter_alerts.rules.rules_file import RulesError, say_book
from taximeter_alerts.rules.rules_on_disk import RulesOnDisk, Written
from taximeter_collector.client import ReadClient

_STAY: Final = "the rules from before stay in force"
_log = logging.getLogger("taximeter_alerts")


def dashboard_url(settings: Settings, book: RuleBook) -> str:
    """Return where links lead: as configured, else to the dashboard of this data dir."""
    if book.dashboard_url:
        return book.dashboard_url
    port = live_port(settings.store.data_dir, "dashboard", "port")
    return part_url(settings, settings.dashboard.host, port or settings.dashboard.port)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What one text of the rules makes; another text, other parts."""

    book: RuleBook
    evaluator: Evaluator
    fleet: Publisher
    digests: Digests
    app: Starlette


class Service:
    """`tick` and `take_up_rules` are called by one thread; the API answers in others."""

    def __init__(
        self,
        settings: Settings,
        disk: RulesOnDisk,
        written: Written,
        log: NotificationLog,
        reader: ReadClient,
        clock: Callable[[], datetime],
    ) -> None:
        """`written` is what was read from the disk. Raises RulesError."""
        self._settings, self._disk, self._log = settings, disk, log
        self._reader, self._clock = reader, clock
        self._in_force = InForce(written.digest)
        book = disk.check(written.text)
        self.outbox = Outbox(log, notifiers_of(book), clock)
        self._backtests = BacktestJob(backtest_command(settings))
        self._parts = self._built(book)

    @property
    def book(self) -> RuleBook:
        return self._parts.book

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request by the parts of now (ASGI)."""
        await self._parts.app(scope, receive, send)

    def tick(self) -> None:
        """Evaluate what has closed since, tell agents of budgets, send digests that are due."""
        self._parts.evaluator.tick()
        self._parts.fleet.tick()
        self._parts.digests.tick()

    def take_up_rules(self) -> bool:
        """Follow the file if it has changed; one with faults is said, and changes nothing. Return whether it did."""
        if not self._disk.has_changed():
            return False
        try:
            written = self._disk.read()
            book = self._disk.check(written.text)
        except RulesError as error:
            # Not the faults themselves: they quote the text, which may hold what a log must not.
            faults = say_count(len(error.faults), "fault")
            self._say(f"{error.file} has {faults}: {_STAY}; `taximeter rules check` lists them.")
            return False
        if self._in_force.digest and not written.digest:
            self._say(f"{self._disk.file.name} is gone: {_STAY} until the next start.")
            return False
        before, self._in_force = self._in_force, InForce(written.digest)
        if written.digest == before.digest:
            return False
        self.outbox.follow(notifiers_of(book))
        self._parts = self._built(book, self._parts.evaluator)
        print(f"taximeter alerts: {self._disk.file} was changed: {say_book(book)}", flush=True)
        return True

    def stop(self) -> None:
        """Let `tick` end soon, and end a backtest."""
        self._backtests.stop()
        self._parts.evaluator.stop()

    def _say(self, problem: str) -> None:
        self._in_force = InForce(self._in_force.digest, problem)
        _log.warning("%s", problem)

    def _built(self, book: RuleBook, before: Evaluator | None = None) -> _Parts:
        log, outbox, reader, clock = self._log, self.outbox, self._reader, self._clock

        def page() -> str:
            return dashboard_url(self._settings, book)

        keep_file_silences(log, book, clock())
        board = Board(book, log, Dispatcher(book, log, outbox, page))
        evaluator = Evaluator(book, reader, board, clock)
        if before is not None:
            evaluator.take_over(before)
        return _Parts(
            book,
            evaluator,
            Publisher(book, reader, lambda: evaluator.budgets, lambda: board.watermark, clock),
            Digests(book, reader, log, outbox, clock, page),
            self._api(book, board, evaluator),
        )

    def _api(self, book: RuleBook, board: Board, evaluator: Evaluator) -> Starlette:
        host = self._settings.alerts.host
        token = None if is_loopback(host) else self._settings.collector.query_token
        text = RulesText(self._disk, self._log, self._clock, lambda: self._in_force)
        api = Api(
            book, self._log, board, evaluator.health, self.outbox, self._clock, token,
            lambda: evaluator.budgets, self._backtests, text,
        )  # fmt: skip
        return api.app(["127.0.0.1", "localhost", "::1", "[::1]"] if is_loopback(host) else ["*"])
