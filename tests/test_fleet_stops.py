"""The whole path over real sockets: spend is stored, evaluated and published; agents that run are stopped."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from tests.instrumentation.hosts import finish, host
from tests.patience import wait_until
from tests.serving import Collector, collecting

from taximeter_alerts.evaluator import Evaluator
from taximeter_alerts.fleet import Publisher
from taximeter_alerts.incidents.board import Board
from taximeter_alerts.incidents.dispatcher import Dispatcher
from taximeter_alerts.notification_log import NotificationLog
from taximeter_alerts.outbox.outbox import Outbox
from taximeter_alerts.rules.rules_file import parse_rules
from taximeter_collector.client import ReadClient
from taximeter_collector.store.store import Store

RULES = """\
version: 1
defaults: false
rules:
  - {name: tenants, watch: cost_usd, by: tenant, where: {agent_name: research}, when: "budget $0.01 per month", on_exhausted: stop}
  - {name: people, watch: cost_usd, by: user_id, when: "budget $0.01 per month"}
"""
AGENT = """
from taximeter.budgets import watch
from taximeter.testing import Answer, FakeModel
watch.EVERY_S = 0.1
taximeter.init(service='desk', budgets=True)
client = FakeModel(Answer(input_tokens=1000, output_tokens=100)).anthropic()
def ask():
    taximeter.partial('a draft')
    client.messages.create(model='claude-sonnet-5-5', max_tokens=200, messages=[{'role': 'user', 'content': 'x'}])
    return 'an answer'
limits = taximeter.Limits(on_limit='partial')
research, writer = (taximeter.agent(name, limits=limits)(ask) for name in ('research', 'writer'))
def ends(agent, tenant):
    with taximeter.request(tenant=tenant, user='u'): return agent()
"""


def minutes_later() -> datetime:
    """The minute of now is over then, and as old as it usually is when it is evaluated."""
    return datetime.now(UTC) + timedelta(seconds=130)


@contextmanager
def alerts(data_dir: Path, collector: Collector) -> Iterator[tuple[Evaluator, Publisher]]:
    """An alerts process without its threads."""
    book = parse_rules(RULES, "alerts.yaml", {})
    client, log = ReadClient(collector.url), NotificationLog(data_dir)
    dispatcher = Dispatcher(book, log, Outbox(log, {}, minutes_later), lambda: None)
    board = Board(book, log, dispatcher)
    evaluator = Evaluator(book, client, board, minutes_later)
    board.set_watermark(minutes_later().replace(second=0, microsecond=0) - timedelta(minutes=2))
    publisher = Publisher(
        book, client, lambda: evaluator.budgets, lambda: board.watermark, minutes_later
    )
    yield evaluator, publisher
    log.close()
    client.close()


def running_agent(collector: Collector) -> subprocess.Popen[str]:
    """Return an agent that goes on until it is stopped, then says what others still may."""
    program = host(
        AGENT
        + textwrap.dedent("""
            assert ends(research, 'acme') == 'an answer'
            print('runs', flush=True)
            started = time.monotonic()
            while (end := ends(research, 'acme')) == 'an answer' and time.monotonic() - started < 100:
                time.sleep(0.02)
            print(end, '|', ends(research, 'other'), '|', ends(writer, 'acme'))
        """),
        collector.url,
    )
    assert program.stdout is not None and program.stdout.readline() == "runs\n"
    return program


@pytest.fixture
def collector(store: Store) -> Iterator[Collector]:
    with collecting(store) as running:
        yield running


def test_an_agent_that_runs_is_stopped_once_all_have_used_the_budget_up(
    tmp_path: Path, store: Store, collector: Collector
) -> None:
    with alerts(tmp_path, collector) as (evaluator, publisher):
        running = running_agent(collector)
        finish(host(AGENT + "for n in range(10): ends(research, 'acme')", collector.url))
        spent = "select sum(cost_usd) from calls where tenant = 'acme'"
        with ReadClient(collector.url) as client:
            wait_until(lambda: (client.query(spent).to_pydict()["sum(cost_usd)"][0] or 0) > 0.01)
            evaluator.tick()
            publisher.tick()
            (told,) = httpx.get(f"{collector.url}/v1/budgets").json()["stops"]
            assert (told["budget"], told["labels"]) == ("tenants", {"tenant": "acme"})
            assert finish(running) == "a draft | an answer | an answer\n"
            reasons = (
                "select count(*) as n from agent_runs where termination_reason = 'cost_budget'"
                " and agent_name = 'research'"
            )
            wait_until(lambda: client.query(reasons).to_pylist() == [{"n": 1}])


def test_a_collector_that_was_started_again_knows_a_tick_later(
    tmp_path: Path, store: Store
) -> None:
    with collecting(store) as first, alerts(tmp_path, first) as (evaluator, publisher):
        evaluator.tick()
        publisher.tick()
        assert "age" in httpx.get(f"{first.url}/v1/budgets").headers
    with collecting(store) as second:
        assert "age" not in httpx.get(f"{second.url}/v1/budgets").headers
        with alerts(tmp_path, second) as (evaluator, publisher):
            publisher.tick()
            assert "age" not in httpx.get(f"{second.url}/v1/budgets").headers
            evaluator.tick()
            publisher.tick()
            assert "age" in httpx.get(f"{second.url}/v1/budgets").headers
