"""`taximeter collector` as a process: it refuses with one sentence and the right exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run_collector(data_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if "TAXIMETER" not in key}
    ports = {"TAXIMETER_COLLECTOR_HTTP_PORT": "0", "TAXIMETER_COLLECTOR_GRPC_PORT": "0"}
    return subprocess.run(
        [sys.executable, "-m", "taximeter", "collector", "--data-dir", str(data_dir)],
        env={**inherited, **ports, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("TAXIMETER_COLLECTOR_HOST", "0.0.0.0", "set TAXIMETER_INGEST_TOKEN and"),
        ("TAXIMETER_COLLECTOR_HTTP_PORT", "x", "a port number from 0 to 65535"),
        ("TAXIMETER_STORE_URL", "ducklake:postgres:x", 'write "duckdb:"'),
        ("TAXIMETER_COLLECTOR_INGEST_TOKEN_FILE", "/nowhere/token", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_exit_code_2(
    tmp_path: Path, variable: str, value: str, says: str
) -> None:
    done = run_collector(tmp_path, **{variable: value})
    assert done.returncode == 2
    assert says in done.stderr and done.stderr.count("\n") == 1


def test_a_data_dir_that_cannot_be_is_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_collector(tmp_path / "file" / "data")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and done.stderr.startswith("taximeter collector: ")
