"""`taximeter explain` as a person meets it: a real collector, real spans, exit codes, sentences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.patience import wait_until

from taximeter.settings.ports import read_ports
from taximeter_collector.client import QueryError, ReadClient

from .conftest import Trace, chat, recorded

CLIENTS = ("anthropic-sdk-native", "openinference-openai", "traceloop-sdk-openai")
TWIN = 7


def environment(data_dir: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "TAXIMETER" not in name}
    ports = {"TAXIMETER_COLLECTOR_HTTP_PORT": "0", "TAXIMETER_COLLECTOR_GRPC_PORT": "0"}
    return {**kept, **ports, "TAXIMETER_STORE_DATA_DIR": str(data_dir)}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running collector with telemetry of three clients, and one span id in two traces."""
    data_dir = tmp_path_factory.mktemp("explain")
    process = subprocess.Popen(
        [sys.executable, "-m", "taximeter_collector"], env=environment(data_dir), cwd=data_dir
    )
    try:
        wait_until(lambda: "http_port" in read_ports(data_dir).get("collector", {}))
        url = f"http://127.0.0.1:{read_ports(data_dir)['collector']['http_port']}"
        bodies = [body for client in CLIENTS for body in recorded(client)]
        bodies += [Trace(trace_id).span(TWIN, chat(10, 1)).body() for trace_id in (1, 2)]
        for body in bodies:
            request = urllib.request.Request(
                f"{url}/v1/traces", body, {"Content-Type": "application/x-protobuf"}
            )
            urllib.request.urlopen(request, timeout=30).close()
        with ReadClient(url) as client:
            wait_until(lambda: traces(client) == (0, True))
        yield data_dir
    finally:
        process.terminate()
        process.wait(20)


def traces(client: ReadClient) -> tuple[int, bool]:
    """Return how many traces are not derived yet, and whether there are any at all."""
    try:
        (row,) = client.query(
            "select count(distinct trace_id) as n, count(distinct trace_id) filter"
            " (trace_id not in (select request_id from requests)) as waiting from spans"
        ).to_pylist()
    except QueryError:
        return 0, False
    return row["waiting"], row["n"] > 4


def explain(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taximeter", "explain", *arguments],
        env=environment(data_dir), cwd=data_dir, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def priced_calls(data_dir: Path) -> list[dict[str, object]]:
    url = f"http://127.0.0.1:{read_ports(data_dir)['collector']['http_port']}"
    with ReadClient(url) as client:
        rows: list[dict[str, object]] = client.query(
            "select dialect, span_id, cost_pico from calls where is_billed and cost_pico > 0"
            f" and span_id <> '{TWIN:016x}' qualify row_number() over"
            " (partition by dialect order by start_time) = 1 order by dialect"
        ).to_pylist()
    return rows


def test_a_call_of_each_dialect_is_proven(data_dir: Path) -> None:
    calls = priced_calls(data_dir)
    assert len(calls) == 3
    for call in calls:
        done = explain(data_dir, str(call["span_id"]), "--json")
        assert done.returncode == 0, done.stderr
        proof = json.loads(done.stdout)
        steps = {step["name"]: step for step in proof["steps"]}
        assert steps["dialect"]["facts"][0] == {"label": "Dialect", "value": call["dialect"]}
        *parts, total = steps["arithmetic"]["tables"][0]["rows"]
        assert sum(row[-1] for row in parts) == total[-1] == call["cost_pico"]
        assert {"usage", "basis", "invariants", "billed", "price"} <= steps.keys()


def test_people_read_the_same_steps(data_dir: Path) -> None:
    span = str(priced_calls(data_dir)[0]["span_id"])
    for_people = explain(data_dir, span.upper()).stdout
    proof = json.loads(explain(data_dir, span, "--json").stdout)
    for number, step in enumerate(proof["steps"], start=1):
        assert f"\n{number}. {step['title']} [" in for_people
        assert step["says"] in for_people


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ffffffffffffffff"], "No span ffffffffffffffff is stored"),
        (["xyz"], "A span id is 16 hexadecimal digits; 'xyz' is none."),
        ([f"{TWIN:016x}"], "is in several traces"),
        ([f"{TWIN:016x}", "--trace", "abc"], "A trace id is 32 hexadecimal digits"),
        ([f"{TWIN:016x}", "--trace", f"{3:032x}"], f"in trace {3:032x} is stored"),
    ],
    ids=["unknown", "no id", "ambiguous", "no trace id", "other trace"],
)
def test_what_cannot_be_explained_is_one_sentence(
    data_dir: Path, arguments: list[str], says: str
) -> None:
    done = explain(data_dir, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and done.stderr.count("\n") == 1


def test_the_trace_tells_twins_apart(data_dir: Path) -> None:
    done = explain(data_dir, f"{TWIN:016x}", "--trace", f"{2:032x}")
    assert done.returncode == 0
    assert f"in trace {2:032x}" in done.stdout


def test_without_a_collector_it_says_how_to_start_one(tmp_path: Path) -> None:
    done = explain(tmp_path, "ffffffffffffffff", "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "taximeter up" in done.stderr and done.stderr.count("\n") == 1
