"""`taximeter up --host 0.0.0.0`: every port that others reach speaks TLS, and our own readers still do their work."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.cli.test_up import PARTS, Up, wait_until_running
from tests.collector_edges.certificates import Authority, Pair

from taximeter.settings.ports import read_ports, web_port
from taximeter.settings.tls import reader_context


@pytest.fixture
def served(tmp_path: Path) -> Pair:
    return Authority(tmp_path / "ca").issue("public", names="DNS:taximeter.example.org")


@pytest.fixture
def up(tmp_path: Path, served: Pair) -> Iterator[Up]:
    data = tmp_path / "data"
    environment = {key: value for key, value in os.environ.items() if "TAXIMETER" not in key}
    environment |= {f"TAXIMETER_{part}_PORT": "0" for part in PARTS}
    environment |= {
        "TAXIMETER_STORE_DATA_DIR": str(data),
        "TAXIMETER_COLLECTOR_TLS_CERT_FILE": str(served.certificate),
        "TAXIMETER_COLLECTOR_TLS_KEY_FILE": str(served.key),
        "TAXIMETER_INGEST_TOKEN": "sender",
        "TAXIMETER_QUERY_TOKEN": "reader",
        "TAXIMETER_EDITOR_TOKEN": "editor",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "taximeter", "up", "--no-browser", "--host", "0.0.0.0"],
        env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    hosts = {f"TAXIMETER_{part}_HOST": "0.0.0.0" for part in ("COLLECTOR", "ALERTS", "DASHBOARD")}
    try:
        yield Up(process, data, environment | hosts)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


def test_all_ports_speak_tls_and_the_readers_ask_them(up: Up, served: Pair) -> None:
    said = wait_until_running(up)
    for part in ("dashboard", "collector", "alerts"):
        assert re.search(rf"{part} +https://127\.0\.0\.1:\d+", said), said
    assert "http://" not in said
    ports, context = read_ports(up.data_dir), reader_context(served.certificate)
    for part, path in (("alerts", "/healthz"), ("dashboard", "/_stcore/health")):
        where = f"127.0.0.1:{web_port(ports[part])}{path}"
        with urllib.request.urlopen(f"https://{where}", context=context, timeout=30) as response:
            assert response.status == 200
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://{where}", timeout=30)
    assert up.count_spans() == 0
    doctor = up.taximeter("doctor")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert up.count_spans() == 1
    parquet = up.taximeter(
        "query", "from spans", "--format", "parquet", "-o", str(up.data_dir / "x")
    )
    assert parquet.returncode == 0, parquet.stderr
    status = up.taximeter("status")
    assert (status.returncode, status.stdout.splitlines()[0]) == (0, "store: ok"), status.stderr
    backup = up.taximeter("backup", str(up.data_dir.parent / "copy"))
    assert backup.returncode == 0 and "1 rows of span" in backup.stdout, backup.stderr
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(timeout=60) == 0
