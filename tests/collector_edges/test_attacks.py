"""What a reader may ask of a real collector by POST /v1/query: the attack corpus, the honest corpus.

`attacks.csv` and `honest_queries.csv` are run on every supported version of DuckDB
(docs/reference.md, "SQL"). Threats: T9 and the lockdown table of DuckDB (decision 7).
"""

from __future__ import annotations

import csv
import http.client
import json
import math
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest
from tests.patience import PATIENCE_S
from tests.serving import Collector, collecting
from tests.telemetry import body, chat, wipe

from taximeter_collector.query.query_watch import QueryWatch
from taximeter_collector.store.store import Store

HERE: Final = Path(__file__).parent
JSON: Final = {"Content-Type": "application/json", "Accept": "application/json"}
CANARY: Final = "taximeter-canary-7f3a"


def corpus(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


ATTACKS: Final = corpus("attacks.csv")
HONEST: Final = corpus("honest_queries.csv")


@pytest.fixture(scope="module")
def collector(session_store: Store) -> Iterator[Collector]:
    wipe(session_store)
    (session_store.data_dir / "canary.csv").write_text(f"secret\n{CANARY}\n")
    with collecting(session_store) as running:
        spans = [chat(1, 1), chat(1, 2, 1, tokens=5), chat(2, 3)]
        running.ingest.submit("traces", body(spans)).result(PATIENCE_S)
        yield running


def ask(collector: Collector, sql: str, **more: Any) -> tuple[int, dict[str, Any], bytes]:
    connection = http.client.HTTPConnection(
        "127.0.0.1", collector.addresses.http_port, timeout=PATIENCE_S
    )
    try:
        document = json.dumps({"sql": sql} | more)
        connection.request("POST", "/v1/query", document.encode(), JSON)
        response = connection.getresponse()
        raw = response.read()
        return response.status, json.loads(raw), raw
    finally:
        connection.close()


def test_the_corpora_are_as_large_as_promised() -> None:
    threats = Counter(attack["threat"] for attack in ATTACKS)
    assert sum(threats.values()) >= 300 and len(HONEST) >= 60
    wanted = {"file", "network", "extension", "setting", "database", "secret", "python", "write",
              "statements", "resource"}  # fmt: skip
    assert set(threats) == wanted and min(threats.values()) >= 5


@pytest.mark.parametrize(
    "attack", ATTACKS, ids=lambda attack: f"{attack['threat']}-{attack['name']}"
)
def test_an_attack_hears_one_clear_sentence(collector: Collector, attack: dict[str, str]) -> None:
    leak_df = CANARY  # noqa: F841 - a variable that a replacement scan would find
    status, answer, raw = ask(collector, attack["sql"])
    assert status in (400, 403), answer
    message = answer["error"]["message"]
    assert message and "Traceback" not in message and "\n" not in message
    assert CANARY.encode() not in raw and b"root:" not in raw


def test_after_all_attacks_the_store_is_whole(collector: Collector, session_store: Store) -> None:
    before = {file.name for file in session_store.data_dir.iterdir()}
    for attack in ATTACKS:
        ask(collector, attack["sql"])
    assert ask(collector, "select count(*) from spans")[1]["rows"] == [[3]]
    after = {file.name for file in session_store.data_dir.iterdir()}
    assert {n for n in after - before if not n.startswith(("spans-", "rollup", "tmp"))} == set()
    assert (session_store.data_dir / "canary.csv").read_text().endswith(f"{CANARY}\n")
    collector.ingest.submit("traces", body([chat(9, 9)])).result(PATIENCE_S)
    assert ask(collector, "select count(*) from spans")[1]["rows"] == [[4]]


@pytest.mark.parametrize("honest", HONEST, ids=lambda honest: honest["name"])
def test_an_honest_query_is_answered(collector: Collector, honest: dict[str, str]) -> None:
    status, answer, _ = ask(collector, honest["sql"])
    assert status == 200, answer
    assert answer["columns"]


ENDLESS: Final = {
    "cross join": "select count(*) from range(1000000) a, range(1000000) b where hash(a.range + b.range) = 5",
    "recursive query": "with recursive r as (select 1 n union all select n + 1 from r) select count(*) from r",
    "sort": "select a.range from range(100000000) a, range(100) b order by hash(a.range + b.range)",
    "distinct": "select count(distinct a.range * 1000003 + b.range) from range(100000) a, range(100000) b",
    "text of all rows": "select length(string_agg(repeat('x', 9999), '')) from range(10000000)",
    "list of all rows": "select len(list(repeat('x', 9999))) from range(10000000)",
    "json of all rows": "select length(json_group_array(repeat('x', 9999))) from range(10000000)",
    "running list": "select sum(len(x)) from (select list(range) over (order by range) x from range(1000000))",
    "doubled text": "with recursive r as (select 'x' s union all select s || s from r) select max(length(s)) from r",
    "long rows": "select sum(length(x || x || x || x)) from (select repeat('x', 9999) || range as x from range(100000000))",
    "histogram": "select len(map_keys(histogram(range))) from range(1000000000)",
    "wide join": "select count(*) from spans a, spans b, spans c, range(10000000) d, range(100000) e where a.name <> e.range::varchar",
}


@pytest.mark.parametrize("sql", ENDLESS.values(), ids=ENDLESS.keys())
def test_a_query_without_end_is_stopped(collector: Collector, sql: str) -> None:
    """Between two chunks of rows every query can be stopped: by its time, or by its memory."""
    status, answer, _ = ask(collector, sql, timeout_ms=1000)
    assert (status, answer["error"]["type"]) in ((504, "timeout"), (413, "memory")), answer
    assert ask(collector, "select 1")[0] == 200


def test_a_query_is_stopped_by_the_growth_of_the_process(tmp_path: Path) -> None:
    con = duckdb.connect(":memory:", config={"temp_directory": str(tmp_path / "spill")})
    watching = QueryWatch().watching(con, math.inf, threading.Event(), room_bytes=100 << 20)
    with watching as query, pytest.raises(duckdb.Error):
        con.execute("create table t as select range, hash(range) from range(1000000000)")
    assert query.stopped == "memory"
    con.close()
