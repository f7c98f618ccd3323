"""`verify` finds every stored value that the spans do not say, and `--repair` puts it right."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.poison import follow_past_poison
from tests.telemetry import BEGINNING_NS, Span, chat, commit, one, send

from taximeter import cli
from taximeter.cli import verify as cli_verify
from taximeter_collector.derive import derive
from taximeter_collector.derive.derive import derived_batch
from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.derive.verify import Report, WindowTooLong, verify_window
from taximeter_collector.derive.verify_api import Verifier, parse_request
from taximeter_collector.sql_files import read_sql
from taximeter_collector.store.store import Store

SDK = "com.anthropic.sdk.python"
FROM = datetime.fromtimestamp(BEGINNING_NS / 1e9, UTC) - timedelta(hours=1)
TO = FROM + timedelta(hours=3)
AGENT = (("gen_ai.operation.name", "invoke_agent"), ("gen_ai.agent.name", "helper"))
TOOL = (("gen_ai.operation.name", "execute_tool"), ("gen_ai.tool.name", "search"))
SPANS = [
    Span(1, 10, 0, 0, 9000, AGENT),
    chat(1, 11, 10, response_id="a"),
    Span(1, 12, 10, 1000, 2000, TOOL),
    chat(2, 21, response_id="a", scope=SDK),
    chat(3, 31, start=60_000, end=61_000),
]


def look(store: Store, start: datetime = FROM, end: datetime = TO) -> Report:
    with store.cursor() as cursor:
        return verify_window(store, cursor, start, end)


def change(store: Store, sql: str) -> None:
    with store.cursor() as cursor:
        cursor.execute(sql)


def found(report: Report) -> set[tuple[str, str]]:
    return {(difference.table, difference.column) for difference in report.differences}


def repaired(store: Store, report: Report) -> Report:
    deriver = Deriver(store, settle_s=0.01)
    try:
        deriver.repair(report.wrong_traces, report.wrong_minutes).result(30)
    finally:
        deriver.close()
    return look(store)


def test_what_was_followed_step_by_step_is_what_the_spans_say(store: Store) -> None:
    send(store, [[span] for span in reversed(SPANS)])
    report = look(store)
    assert (report.traces, report.spans, report.difference_count) == (3, 5, 0)
    assert (report.repriced_calls, report.failures, report.is_right) == (0, [], True)


WRONG_VALUES = {
    ("call", "output_tokens"): "update rollup.call set output_tokens = 11 where trace_id like '%1'",
    ("call", "is_billed"): "update rollup.call set is_billed = not is_billed where trace_id like '%2'",
    ("call", "agent_name"): "update rollup.call set agent_name = null",
    ("request", "cost_pico"): "update rollup.request set cost_pico = cost_pico + 1",
    ("request", "priced_ratio"): "update rollup.request set priced_ratio = 0.5",
    ("request", "agents"): "update rollup.request set agents = ['x']",
    ("agent_run", "loop_length"): "update rollup.agent_run set loop_length = 7",
    ("tool_call", "is_error"): "update rollup.tool_call set is_error = true",
    ("usage_minute", "cost_pico"): "update rollup.usage_minute set cost_pico = cost_pico + 1",
    ("usage_minute", "loop_length_histogram"): "update rollup.usage_minute set loop_length_histogram = map {9: 9}",
}  # fmt: skip
WRONG_ROWS = {
    ("usage_minute", ""): "delete from rollup.usage_minute",
    ("request", ""): "delete from rollup.request where request_id like '%2'",
    ("call", ""): "insert into rollup.call from rollup.call where trace_id like '%3'",
    ("agent_run", ""): "insert into rollup.agent_run by name select * replace ('ab' as trace_id) from rollup.agent_run",
    ("tool_call", ""): "delete from rollup.tool_call",
}  # fmt: skip


@pytest.mark.parametrize("wrong", [WRONG_VALUES, WRONG_ROWS], ids=["values", "rows"])
def test_every_wrong_value_is_found_and_repaired(
    store: Store, wrong: dict[tuple[str, str], str]
) -> None:
    send(store, [SPANS])
    for sql in wrong.values():
        change(store, sql)
    report = look(store)
    assert set(wrong) <= found(report)
    assert repaired(store, report).is_right


def test_a_difference_names_the_stored_and_the_recomputed_value(store: Store) -> None:
    send(store, [SPANS])
    change(store, "update rollup.call set output_tokens = 11 where trace_id like '%3'")
    (difference,) = look(store).differences
    assert (difference.stored, difference.recomputed) == ("11", "10")
    assert difference.key == {"trace_id": f"{3:032x}", "span_id": f"{31:016x}"}


def test_a_commit_that_was_left_out_is_seen_and_repaired(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, *([span] for span in (SPANS[0], SPANS[4], *SPANS[1:4])))
    follow_past_poison(store, monkeypatch, poisoned=2, commits=len(SPANS))
    report = look(store)
    assert ("call", "") in found(report)
    assert repaired(store, report).is_right
    assert one(store, "select count(*) from calls where is_billed") == (2,)


def test_a_trace_that_can_not_be_derived_is_named_and_the_rest_is_compared(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(store, [SPANS])
    change(store, "update rollup.call set output_tokens = 11 where trace_id like '%1'")
    real = read_sql
    poison = f"select error('poison') from d_span where trace_id = '{3:032x}';"
    monkeypatch.setattr(
        derive, "read_sql", lambda name: (poison if name == "derive/20_billed" else "") + real(name)
    )
    report = look(store)
    assert [failure.trace_id for failure in report.failures] == [f"{3:032x}"]
    assert "poison" in report.failures[0].error
    assert ("call", "output_tokens") in found(report)


def test_money_of_other_prices_is_counted_and_not_compared(store: Store) -> None:
    send(store, [SPANS])
    other = "cost_pico = 1, input_cost_pico = 1, price_version = 'another list'"
    change(store, f"update rollup.call set {other} where trace_id like '%3'")
    change(store, "update rollup.usage_minute set cost_pico = 1 where minute = (select max(minute) from rollup.usage_minute)")  # fmt: skip
    report = look(store)
    assert (report.repriced_calls, report.unsure_minutes, report.is_right) == (1, 1, True)
    change(store, "update rollup.call set output_tokens = 11 where trace_id like '%3'")
    assert found(look(store)) == {("call", "output_tokens")}


def test_traces_whose_first_spans_are_gone_are_counted_and_not_compared(store: Store) -> None:
    send(store, [[chat(9, 91)], SPANS, [chat(9, 92)]])
    with store.cursor() as cursor:
        day = cursor.execute("select database_name from duckdb_tables() where table_name = 'span' and estimated_size > 0").fetchone()  # fmt: skip
        assert day is not None
        cursor.execute(f"delete from {day[0]}.span where batch = 1")
    report = look(store)
    assert (report.incomplete_traces, report.is_right) == (1, True)


def test_spans_that_are_not_followed_yet_are_no_difference(store: Store) -> None:
    send(store, [SPANS])
    commit(store, [chat(1, 19, 10, response_id="z")])
    assert look(store).is_right


def test_a_window_is_whole_minutes_and_knows_what_lies_outside(store: Store) -> None:
    """A request of two windows is compared whole in both; the window's edge cuts no minute."""
    send(store, [SPANS, [chat(1, 15, 10, start=3_600_000, end=3_601_000)]])
    middle = FROM + timedelta(hours=1, seconds=30)
    for start, end in ((FROM, middle), (middle, TO)):
        report = look(store, start, end)
        assert report.is_right and report.traces >= 1


def test_too_many_spans_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    send(store, [SPANS])
    monkeypatch.setattr("taximeter_collector.derive.verify.MAX_SPANS", 4)
    with pytest.raises(WindowTooLong, match="at most 4"):
        look(store)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"from": 1, "to": 2}', '{"from": "2026-01-02", "to": "2026-01-01"}',
             '{"from": "2020-01-02", "to": "2026-01-01"}', '{"from": "x", "to": "2026-01-01"}',
             '{"from": "2026-01-01", "to": "2026-01-02", "repair": "yes"}']
)  # fmt: skip
def test_a_wrong_request_gets_a_sentence(text: str) -> None:
    with pytest.raises(Exception, match="must be"):
        parse_request(text.encode())


@pytest.fixture
def deriver(store: Store) -> Any:
    send(store, [SPANS])
    deriver = Deriver(store, settle_s=0.01)
    yield deriver
    deriver.close()


def run(store: Store, deriver: Deriver, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    """Run the command against a collector in this process."""
    verifier = Verifier(store, deriver)

    def ask(url: str, path: str, document: dict[str, Any], **_: Any) -> dict[str, Any]:
        assert path == "/v1/verify"
        answer: dict[str, Any] = json.loads(
            json.dumps(verifier.answer(json.dumps(document).encode()))
        )
        return answer

    monkeypatch.setattr(cli_verify, "ask", ask)
    monkeypatch.delenv("TAXIMETER_CONFIG", raising=False)
    window = [
        "--from",
        f"{FROM:%Y-%m-%dT%H:%M}",
        "--to",
        f"{TO + timedelta(days=1):%Y-%m-%dT%H:%M}",
    ]
    return cli.main(["verify", *window, *options])


def test_the_command_says_no_difference_and_returns_0(
    store: Store, deriver: Deriver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    assert run(store, deriver, monkeypatch) == 0
    out = capsys.readouterr().out
    assert "3 traces" in out and "No difference." in out


def test_the_command_lists_differences_repairs_them_and_says_so(
    store: Store, deriver: Deriver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    change(store, "update rollup.request set loop_length = 99 where request_id like '%1'")
    assert run(store, deriver, monkeypatch) == 1
    out = capsys.readouterr().out
    assert "loop_length" in out and "99" in out and "--repair" in out
    assert run(store, deriver, monkeypatch, "--repair") == 0
    assert "Repaired 1 differences: 1 traces" in capsys.readouterr().out
    assert run(store, deriver, monkeypatch, "--json") == 0
    assert json.loads(capsys.readouterr().out)["difference_count"] == 0


@pytest.mark.parametrize("wrong", [["--from", "x"], ["--from", "2026-01-01", "--hours", "2"],
                                   ["--hours", "0"], ["--from", "2026-01-02", "--to", "2026-01-01"]])  # fmt: skip
def test_a_wrong_time_is_exit_code_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", *wrong]) == 2
    assert "verify" in capsys.readouterr().err


def test_the_derived_batch_is_reported(store: Store) -> None:
    send(store, [SPANS])
    with store.cursor() as cursor:
        assert look(store).data_version == derived_batch(cursor) == 1
