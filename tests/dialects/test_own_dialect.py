"""The invented client of docs/own_dialects.md, by its toml alone, through a collector of its own."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from tests.patience import wait_until
from tests.serving import collector_process

from taximeter.pricing import load_catalog
from taximeter_collector.client import ReadClient, plain_rows
from taximeter_collector.dialects.columns import TABLES
from taximeter_collector.dialects.shipped import mapped_columns
from taximeter_collector.explain import Replay, gather, prove

DOCUMENT = (Path(__file__).parents[2] / "docs" / "own_dialects.md").read_text(encoding="utf-8")
NOW = 1_795_000_000_000_000_000
SECOND = 10**9
SCOPE = "acme.agents.core"
USAGE = '{"in": 900, "out": 200, "cached": 4000}'
CALL = {"acme.op": "infer", "acme.vendor": "anthropic", "acme.model": "claude-opus-5-5"}


def put(attributes: Any, values: Mapping[str, str]) -> None:
    for key, value in values.items():
        attributes.add(key=key).value.string_value = value


class Sender:
    """The invented client: what it sends goes to the collector's ports."""

    def __init__(self, client: ReadClient, service: str) -> None:
        self._url, self._service = client.url, service

    def post(self, path: str, message: Message) -> None:
        request = urllib.request.Request(
            f"{self._url}/v1/{path}", message.SerializeToString(),
            {"Content-Type": "application/x-protobuf"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200

    def resource(self, into: Any) -> Any:
        one = into.add()
        put(one.resource.attributes, {"service.name": self._service})
        return one

    def spans(self, spans: list[tuple[int, int, str, Mapping[str, str], str]]) -> None:
        """Send spans of one trace: number, parent, name, attributes, the message of an error."""
        message = ExportTraceServiceRequest()
        scope = self.resource(message.resource_spans).scope_spans.add()
        scope.scope.name = SCOPE
        for number, parent, name, attributes, error in spans:
            span = scope.spans.add(
                trace_id=(7).to_bytes(16, "big"),
                span_id=number.to_bytes(8, "big"),
                parent_span_id=parent.to_bytes(8, "big") if parent else b"",
                name=name,
                start_time_unix_nano=NOW + number * SECOND,
                end_time_unix_nano=NOW + (number + 1 if parent else 60) * SECOND,
            )
            put(span.attributes, attributes)
            if error:
                span.status.code, span.status.message = Status.STATUS_CODE_ERROR, error
        self.post("traces", message)

    def event(self, name: str, attributes: Mapping[str, str]) -> None:
        message = ExportLogsServiceRequest()
        scope = self.resource(message.resource_logs).scope_logs.add()
        scope.scope.name = SCOPE
        record = scope.log_records.add(time_unix_nano=NOW, event_name=name)
        put(record.attributes, attributes)
        self.post("logs", message)

    def tokens(self, counts: Mapping[str, int]) -> None:
        message = ExportMetricsServiceRequest()
        scope = self.resource(message.resource_metrics).scope_metrics.add()
        scope.scope.name = SCOPE
        metric = scope.metrics.add(name="acme.tokens")
        metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        for kind, value in counts.items():
            point = metric.sum.data_points.add(
                start_time_unix_nano=NOW, time_unix_nano=NOW + SECOND, as_int=value
            )
            put(point.attributes, {"dir": kind, "acme.model": "claude-opus-5-5",
                                   "acme.vendor": "anthropic"})  # fmt: skip
        self.post("metrics", message)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReadClient]:
    """A real collector with the document's toml, with nothing in it but what the client sent."""
    home = tmp_path_factory.mktemp("data")
    (toml,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    (home / "taximeter.toml").write_text(toml, encoding="utf-8")
    with collector_process(home) as url, ReadClient(url) as client:
        send_everything(client)
        yield client


def send_everything(client: ReadClient) -> None:
    Sender(client, "spans-only").spans([
        (1, 0, "go", {"acme.op": "run", "acme.bot": "scout", "acme.thread": "t-1",
                      "acme.fault": "E-ROUNDS"}, "E-ROUNDS: no more of them"),
        (2, 1, "ask", CALL | {"acme.usage": USAGE, "acme.ended": "more"}, ""),
        (3, 1, "use poll_job", {"acme.tool": "poll_job", "acme.with": '{"id": 1}'}, ""),
        (4, 1, "use poll_job", {"acme.tool": "poll_job", "acme.with": '{"id": 1}'}, ""),
        (5, 1, "ask", CALL | {"acme.fault": "E-BUSY"}, "try later"),
        (6, 1, "ask", CALL | {"acme.usage": USAGE, "acme.cost": "0.5", "acme.ended": "ALL_SAID"}, ""),
        (7, 1, "use say", {"acme.tool": "say", "acme.with": '{"text": "done"}'}, ""),
        (8, 1, "ask", CALL | {"acme.usage": USAGE, "acme.purpose": "title of it"}, ""),
    ])  # fmt: skip
    Sender(client, "logs-only").event(
        "acme.infer", CALL | {"acme.usage": USAGE, "acme.thread": "t-2", "acme.ms": "2500"}
    )
    Sender(client, "metrics-only").tokens({"in": 900_000, "out": 1000, "cached": 100_000})
    wait_until(lambda: client.query("from calls").num_rows == 6, "six calls")


def rows(client: ReadClient, sql: str) -> list[dict[str, Any]]:
    return plain_rows(client.query(sql))


def test_its_calls_are_counted_and_priced(client: ReadClient) -> None:
    calls = rows(
        client, "select * from calls where service_name = 'spans-only' order by start_time"
    )
    assert [call["dialect"] for call in calls] == ["acme"] * 4
    first, busy, last, _title = calls
    assert (first["uncached_input_tokens"], first["cache_read_tokens"]) == (900, 4000)
    assert (first["cache_write_tokens"], first["output_tokens"]) == (0, 200)
    assert (first["prompt_tokens"], first["input_basis"]) == (4900, "exclusive")
    assert first["basis_evidence"] in ("table", "invariant")
    assert first["cost_pico"] == 900 * 4_000_000 + 4000 * 200_000 + 200 * 20_000_000
    assert first["cost_quality"] == "exact"
    assert (busy["status"], busy["error_class"]) == ("error", "throttled")
    assert last["cost_reported_usd"] == 0.5
    assert (last["finish_reason"], last["session_id"]) == ("ALL_SAID", "t-1")


def test_its_run_has_a_loop_tools_and_an_end(client: ReadClient) -> None:
    (run,) = rows(client, "select * from agent_runs where agent_name = 'scout'")
    assert run["loop_length"] == 2  # the busy attempt is none, the title is beside the loop
    assert run["tool_calls"] == 2  # `say` is an answer in the form of a tool call
    assert run["max_consecutive_repeat"] == 1  # polling is no repeat
    assert run["termination_reason"] == "iteration_cap"


def test_its_log_event_is_a_call(client: ReadClient) -> None:
    (call,) = rows(client, "select * from calls where service_name = 'logs-only'")
    assert (call["dialect"], call["session_id"], call["duration_ms"]) == ("acme", "t-2", 2500)
    assert call["cost_pico"] == 8_400_000_000


def test_its_metric_is_usage(client: ReadClient) -> None:
    (call,) = rows(client, "select * from calls where service_name = 'metrics-only'")
    assert (call["prompt_tokens"], call["output_tokens"]) == (1_000_000, 1000)
    assert (call["dialect"], call["cost_quality"]) == ("acme", "aggregate")
    assert call["cost_usd"] == pytest.approx(900_000 * 4e-6 + 100_000 * 0.2e-6 + 1000 * 20e-6)


def test_the_proof_names_the_line_of_the_users_file(client: ReadClient) -> None:
    (span,) = rows(
        client, "select trace_id, span_id from spans where name = 'ask' order by start_time limit 1"
    )
    proof = prove(
        gather(lambda sql, params=None: plain_rows(client.query(sql, params)), Replay(), **span),
        load_catalog(),
    )
    text = str(proof)
    assert re.search(
        r"scope acme\.agents\* met by acme\.agents\.core \(\S*taximeter\.toml:3\)", text
    )
    assert re.search(r"acme\.op = infer \(\S*taximeter\.toml:7\)", text)
    assert proof.verdict != "failed", text


def test_the_document_names_every_table_and_column() -> None:
    for table, cells in TABLES.items():
        columns = ", ".join(
            f"`{name}{'' if cell.required else '?'}`" for name, cell in cells.items()
        )
        (line,) = re.findall(rf"^\| `{table}` \|.*$", DOCUMENT, re.MULTILINE)
        assert line.endswith(f"| {columns} |")
    assert all(f"`{column}`" in DOCUMENT for column in mapped_columns())
