"""Whose a call is before it is made, and whose the store says it was: a budget must mean the same calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from tests.patience import wait_until
from tests.serving import collecting

from taximeter.budgets.stops import DIMENSIONS
from taximeter_collector.client import ReadClient
from taximeter_collector.store.store import Store

SAYS_MUCH = {
    "OTEL_RESOURCE_ATTRIBUTES": "service.version=7,service.namespace=shop,deployment.environment.name=prod",
    "TAXIMETER_USER_KEY": "a secret of 16 characters or more",
}  # fmt: skip


@pytest.mark.parametrize("environment", [{}, SAYS_MUCH], ids=["bare", "says much"])
def test_it_is_the_same_for_every_call(store: Store, environment: dict[str, str]) -> None:
    with collecting(store) as collector:
        program = subprocess.run(
            [sys.executable, "-m", "tests.instrumentation.noted_calls"],
            env=os.environ | environment | {"TAXIMETER_ENDPOINT": collector.url},
            check=True, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        noted = json.loads(program.stdout)
        columns = ", ".join(DIMENSIONS)
        sql = f"select {columns} from calls order by start_time, trace_id, span_id"
        with ReadClient(collector.url) as client:
            wait_until(lambda: len(client.query(sql)) == len(noted) == 16)
            assert client.query(sql).to_pylist() == noted
