"""`taximeter prices reprice` at a running collector's data directory: look, apply, journal, undo."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.patience import wait_until
from tests.pricing.replay import Call, export
from tests.serving import collector_process

from taximeter import cli
from taximeter_collector.client import ReadClient

CARD = "[[price]]\nmodel = 'mine'\ninput = '{}'\noutput = '9'\n"
CHAT = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
CALLS = [
    Call("acme", "mine", CHAT, "openai_chat", at="2026-11-18T12:00:00+00:00"),
    Call("acme", "mine", CHAT, "openai_chat", at="2026-11-20T12:00:00+00:00"),
]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReadClient]:
    """A collector of its own that has stored and priced two calls of 3 USD."""
    monkeypatch.delenv("TAXIMETER_CONFIG", raising=False)
    monkeypatch.setenv("TAXIMETER_STORE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TAXIMETER_PRICES_FILE", str(tmp_path / "prices.toml"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prices.toml").write_text(CARD.format(3))
    with collector_process(tmp_path) as url, ReadClient(url) as client:
        request = urllib.request.Request(
            f"{url}/v1/traces", export(CALLS), {"Content-Type": "application/x-protobuf"}
        )
        urllib.request.urlopen(request, timeout=30).close()
        wait_until(lambda: costs(client) == [3, 3], "two priced calls")
        (tmp_path / "prices.toml").write_text(CARD.format(5))
        yield client


def costs(client: ReadClient) -> list[float]:
    rows = client.query("select cost_usd from calls order by start_time").to_pylist()
    return [row["cost_usd"] for row in rows]


def journal(client: ReadClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.query(
        "select * from repricings order by repricing_id"
    ).to_pylist()
    return found


def run(*arguments: str) -> int:
    return cli.main(["prices", "reprice", *arguments])


def test_history_is_priced_again_only_when_told_and_taken_back(
    client: ReadClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--dry-run") == 0
    shown = capsys.readouterr().out
    assert "2 calls: $6.000000 before, $10.000000 after, difference $+4.000000" in shown
    assert "2026-11-18" in shown and "2026-11-20" in shown

    assert run() == 1  # nobody is there to say yes
    said = capsys.readouterr()
    assert "difference $+4.000000" in said.out and "say --yes" in said.err
    assert (costs(client), journal(client)) == ([3, 3], [])

    assert run("--from", "2026-11-20", "--yes") == 0
    said = capsys.readouterr()
    shown, done = said.out.split("Repricing 1: ")  # the difference first
    assert "1 calls: $3.000000 before, $5.000000 after" in shown
    assert done.startswith("1 calls, from $3.000000 to $5.000000.")
    assert costs(client) == [3, 5]
    assert [row["repricing_id"] for row in journal(client)] == [1]
    (kept,) = client.query(
        "select first_cost_pico from calls where first_cost_pico is not null"
    ).to_pylist()
    assert int(kept["first_cost_pico"]) == 3 * 10**12

    assert run("--yes", "--json") == 0
    assert json.loads(capsys.readouterr().out)["calls"] == 1
    assert costs(client) == [5, 5]

    assert run("--undo") == 0
    assert "Repricing 2 is undone; its 1 calls" in capsys.readouterr().out
    assert costs(client) == [3, 5]
    assert run("--undo", "1") == 0
    assert costs(client) == [3, 3]
    assert [row["repricing_id"] for row in journal(client)] == [1, 2]  # what was done stays written


def test_what_cannot_be_is_one_sentence(
    client: ReadClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--undo", "7") != 0
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "prices.toml").write_text("[[price]]\nnonsense = 1\n")
    assert run("--dry-run") != 0
    said = capsys.readouterr().err
    assert "prices.toml:2" in said and said.count("\n") == 1
    assert costs(client) == [3, 3]
