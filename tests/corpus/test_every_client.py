"""Real telemetry of real clients: what the tables say is the truth, or that they do not know."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taximeter_collector.store import Store

from .archive import scenarios
from .facts import Finding, compare, stated, stored
from .replay import Batches, replay_all

LOOPS = {key: s for key, s in scenarios().items() if s.name == "agent_loop"}
OPEN = {"lmnr-anthropic", "otel-google-genai"}  # their facts are not all right yet: issue 3
CLIENTS = sorted({scenario.client for scenario in LOOPS.values()} - OPEN)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, dict[str, Batches]]]:
    """One store that holds the agent loop of every client."""
    store = Store(tmp_path_factory.mktemp("corpus"))
    yield store, replay_all(store, LOOPS.values())
    store.close()


@pytest.mark.parametrize("client", CLIENTS)
def test_no_fact_is_wrong(corpus: tuple[Store, dict[str, Batches]], client: str) -> None:
    """Tokens, calls, tools, loops, errors, owners and cost equal the truth, or are unknown."""
    store, batches = corpus
    wrong: dict[str, list[Finding]] = {}
    with store.cursor() as cursor:
        for key, scenario in LOOPS.items():
            if scenario.client == client:
                found = stored(cursor, batches[key])
                findings = [
                    f for f in compare(stated(scenario.truth), found) if f.verdict == "wrong"
                ]
                if findings:
                    wrong[scenario.name] = findings
    assert wrong == {}
