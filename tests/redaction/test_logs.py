"""T2 and T16: neither what is sent nor what is asked, by whom, reaches a log line, whatever goes wrong with it."""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import urlsplit

from tests.redaction.test_numbers import CANARIES, TEXT
from tests.serving import collector_process
from tests.telemetry import Span, body

PROTOBUF = {"Content-Type": "application/x-protobuf"}


def ask(url: str, path: str, data: bytes, headers: dict[str, str]) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    try:
        connection.request("POST", path, data, headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def test_no_canary_is_in_logs_files_or_the_write_ahead_log(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "log"
    data.mkdir()
    spans = [Span(1, 1, attributes=(("gen_ai.input.messages", TEXT),), name=TEXT, failed=True)]
    reader = {"Authorization": "Bearer reader-canary"}
    sender = {"Authorization": "Bearer sender-canary"}
    with collector_process(
        data,
        log,
        TAXIMETER_REDACTION_BUILT_IN="secrets,pii",
        TAXIMETER_QUERY_TOKEN="reader-canary",
        TAXIMETER_INGEST_TOKEN="sender-canary",
    ) as url:
        answers = [
            ask(url, "/v1/traces", body(spans), PROTOBUF | sender),
            ask(url, "/v1/traces", TEXT.encode(), PROTOBUF | sender),
            ask(
                url,
                "/v1/traces",
                body(spans),
                PROTOBUF | {"Authorization": f"Bearer {CANARIES[0]}"},
            ),
            ask(url, "/v1/query", f'{{"sql": "selectt \'{TEXT}\'"}}'.encode(), reader),
            ask(url, "/v1/query", f'{{"sql": "select \'{TEXT}\'::int"}}'.encode(), reader),
            ask(url, f"/v1/query?sql={CANARIES[0]}", b"{", reader),
        ]
        assert answers == [200, 400, 401, 400, 400, 400]
        files = {file.name: file.read_bytes() for file in data.rglob("*") if file.is_file()}
        assert any(name.endswith(".wal") and content for name, content in files.items())
    files |= {f"closed {f.name}": f.read_bytes() for f in data.rglob("*") if f.is_file()}
    files["log"] = log.read_bytes()
    assert files["log"]
    secrets = (*CANARIES, "reader-canary", "sender-canary")
    assert [(n, s) for n, content in files.items() for s in secrets if s.encode() in content] == []
