"""The console script as a user meets it: exit codes, sentences, formats."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from taximeter import cli, extras
from taximeter.cli.query import as_table

ANSWER = {
    "columns": [{"name": "agent", "type": "VARCHAR"}, {"name": "cost_usd", "type": "DOUBLE"}],
    "rows": [["bot", 1.5], ["=cmd()", None]],
    "row_count": 2,
    "elapsed_ms": 1.0,
}


class Collector(HTTPServer):
    """Answers every query alike and keeps what it was asked."""

    status = 200
    answer: Any = ANSWER

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[dict[str, str], Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((dict(self.headers), json.loads(body)))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(json.dumps(self.server.answer).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration of the machine reaches the tests."""
    monkeypatch.setenv("TAXIMETER_STORE_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("TAXIMETER_CONFIG", raising=False)
    monkeypatch.delenv("TAXIMETER_QUERY_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)


def ask(collector: Collector, *more: str) -> int:
    return cli.main(["query", "select 1", "--url", collector.url, *more])


def test_a_table_is_for_people(collector: Collector, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(collector) == 0
    assert capsys.readouterr().out.splitlines() == [
        "agent   cost_usd",
        "------  --------",
        "bot          1.5",
        "=cmd()      NULL",
        "(2 rows)",
    ]


def test_json_is_one_object_a_row(collector: Collector, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(collector, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {"agent": "bot", "cost_usd": 1.5},
        {"agent": "=cmd()", "cost_usd": None},
    ]


def test_csv_can_be_opened_in_a_spreadsheet(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(collector, "--format", "csv") == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [["agent", "cost_usd"], ["bot", "1.5"], ["'=cmd()", ""]]


def test_the_answer_goes_to_a_file(collector: Collector, tmp_path: Path) -> None:
    assert ask(collector, "--format", "json", "-o", str(tmp_path / "out.json")) == 0
    assert len(json.loads((tmp_path / "out.json").read_text())) == 2


def test_a_file_that_cannot_be_written_is_named(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(collector, "--format", "json", "-o", "no/where.json") == 2
    assert capsys.readouterr().err == (
        "taximeter query: cannot write no/where.json (No such file or directory): "
        "name another file with -o.\n"
    )


def test_the_token_is_sent(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXIMETER_QUERY_TOKEN", "open sesame")
    ask(collector)
    assert collector.asked[0][0]["Authorization"] == "Bearer open sesame"


@pytest.mark.parametrize(
    ("status", "answer", "code", "says"),
    [
        (
            400,
            {"error": {"message": "no column x", "position": {"line": 2, "column": 5}}},
            2,
            "line 2, column 5: no column x",
        ),
        (403, {"error": {"message": "only reads"}}, 2, "only reads"),
        (401, {"error": {"message": "?"}}, 2, "set TAXIMETER_QUERY_TOKEN"),
        (504, {"error": {"message": "too slow"}}, 1, "too slow"),
        (404, "nothing here", 1, "is a collector there?"),
    ],
    ids=["sql", "forbidden", "token", "slow", "not ours"],
)
def test_a_fault_is_one_sentence_and_an_exit_code(
    collector: Collector,
    capsys: pytest.CaptureFixture[str],
    status: int,
    answer: Any,
    code: int,
    says: str,
) -> None:
    collector.status, collector.answer = status, answer
    assert ask(collector) == code
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_without_a_collector_it_says_how_to_start_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["query", "select 1", "--url", "http://127.0.0.1:9"]) == 1
    assert "taximeter up" in capsys.readouterr().err


def test_status_of_a_directory_without_a_collector_asks_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["status", "--data-dir", str(tmp_path)]) == 1
    assert f"no collector runs on {tmp_path}: run `taximeter up" in capsys.readouterr().err


def test_parquet_needs_a_file_name(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(collector, "--format", "parquet") == 2
    assert "-o FILE" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["up", "collector", "alerts", "dashboard"])
def test_a_missing_extra_is_named(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert cli.main([command]) == 2
    told = capsys.readouterr().err
    assert f"`taximeter {'collector' if command == 'up' else command}` needs " in told
    assert 'pip install "taximeter[server]"' in told


def test_a_wrong_setting_is_a_sentence_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAXIMETER_COLLECTOR_HTTP_PORT", "many")
    assert cli.main(["query", "select 1"]) == 2
    assert "collector.http_port = 'many' is not allowed" in capsys.readouterr().err


def test_an_open_address_without_tokens_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["up", "--host", "0.0.0.0", "--no-browser"]) == 2
    assert "TAXIMETER_INGEST_TOKEN and TAXIMETER_QUERY_TOKEN" in capsys.readouterr().err


def test_an_unknown_command_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["fly"])
    assert caught.value.code == 2
    assert "up" in capsys.readouterr().err


def test_a_terminal_is_not_steered_by_data() -> None:
    table = as_table(["x"], [["\x1b[2Jgone\nline"]])
    assert "\x1b" not in table and table.count("\n") == 4


def test_the_command_line_loads_nothing_heavy() -> None:
    code = (
        "import sys, taximeter.cli.up, taximeter.cli.query; "
        "heavy = {'duckdb', 'grpc', 'pyarrow', 'pandas', 'streamlit', 'plotly', 'requests'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
