"""The alerts API of a timeline, served on loopback by the server that ships."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import uvicorn
from tests.alerts.timeline import Timeline
from tests.patience import wait_until

from taximeter.settings.secret import Secret
from taximeter_alerts.api.api import Api
from taximeter_alerts.api.rules_text import RulesText
from taximeter_alerts.backtest.backtest_job import BacktestJob
from taximeter_alerts.evaluator import Health
from taximeter_alerts.judge.budgets import BudgetStatus


@contextmanager
def served(
    timeline: Timeline,
    health: Health | None = None,
    budgets: Callable[[], Sequence[BudgetStatus] | None] = tuple,
    clock: Callable[[], datetime] | None = None,
    backtests: BacktestJob | None = None,
    token: Secret | None = None,
    rules_text: RulesText | None = None,
) -> Iterator[str]:
    """Serve until the block is left; give the address."""
    api = Api(
        timeline.book, timeline.log, timeline.board, health or Health(), timeline.outbox,
        clock or (lambda: timeline.now), token, budgets=budgets, backtests=backtests,
        rules_text=rules_text,
    )  # fmt: skip
    config = uvicorn.Config(
        api.app(["127.0.0.1"]), host="127.0.0.1", port=0, log_config=None, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
