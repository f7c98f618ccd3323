"""Real telemetry of real clients: what the tables say is the truth, or that they do not know.

What fails here after a change of the rules: `python -m tests.corpus.declared` writes anew what is
declared; look at the difference, and give what is new a reason.
"""

from __future__ import annotations

import pytest

from .archive import scenarios
from .declared import OPEN, UNTOLD, read_declared, read_reasons
from .findings import Findings, Key, find_all
from .table import PAGE, render, table_in

CLIENTS = sorted({scenario.client for scenario in scenarios().values()})


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Every fact of every scenario of every client, from one replay."""
    return find_all(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("client", CLIENTS)
def test_no_fact_is_wrong(findings: Findings, client: str) -> None:
    """Tokens, calls, tools, loops, errors, owners and cost are true, but for the open faults."""
    is_open = read_declared(OPEN, findings)
    wrong = of(client, findings, "wrong")
    assert {key: found for key, found in wrong.items() if key not in is_open} == {}
    assert {key for key in is_open if key.client == client} - wrong.keys() == set(), "mended"


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_missing_is_declared(findings: Findings, client: str) -> None:
    untold = read_declared(UNTOLD, findings)
    missing = of(client, findings, "missing")
    assert {key: found for key, found in missing.items() if key not in untold} == {}
    assert {key for key in untold if key.client == client} - missing.keys() == set(), "told now"


def of(client: str, findings: Findings, verdict: str) -> Findings:
    return {k: f for k, f in findings.items() if k.client == client and f.verdict == verdict}


def test_what_is_declared_is_of_the_corpus(findings: Findings) -> None:
    for file in (OPEN, UNTOLD):
        unknown: set[Key] = read_declared(file, findings).keys() - findings.keys()
        assert unknown == set(), file.name


def test_every_reason_is_written_and_used(findings: Findings) -> None:
    assert set(read_declared(UNTOLD, findings).values()) == set(read_reasons())
    assert all(read_declared(OPEN, findings).values())


def test_the_documented_table_is_that_of_this_run(findings: Findings) -> None:
    table = render(findings, read_declared(UNTOLD, findings), read_reasons())
    assert table_in(PAGE.read_text(encoding="utf-8")) == table
